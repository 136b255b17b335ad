# SPDX-License-Identifier: Apache-2.0
"""Extract, code, reconstruct and average: fused, in four of our calls, and in torch (unfold and fold)."""

import numpy as np
import pytest
import torch

import srdfast

PATCH, STRIDE, CHANNELS = 8, 2, 3


def in_torch(images, analysis, thresholds, synthesis):
    """One step of LISTA on all patches as a torch user writes it; [batch, channels, height, width]."""
    columns = torch.nn.functional.unfold(images, PATCH, stride=STRIDE)  # [batch, features, positions]
    codes = columns.transpose(1, 2) @ analysis.T
    codes = torch.sign(codes) * torch.relu(codes.abs() - thresholds)
    rebuilt = (codes @ synthesis).transpose(1, 2)
    size = images.shape[-2:]
    cover = torch.nn.functional.fold(torch.ones_like(rebuilt), size, PATCH, stride=STRIDE)
    return torch.nn.functional.fold(rebuilt, size, PATCH, stride=STRIDE) / cover


def in_four_calls(images, analysis, thresholds, synthesis):
    """The same through memory: every patch and every code is stored."""
    patches = srdfast.extract_patches(images, patch=PATCH, stride=STRIDE)
    codes = srdfast.lista(patches.reshape(-1, patches.shape[2]), analysis, thresholds, synthesis)
    rebuilt = codes.reconstruct(synthesis).reshape(patches.shape)
    return srdfast.average_patches(rebuilt, images.shape[1:], patch=PATCH, stride=STRIDE)


@pytest.mark.benchmark(group="purify")
@pytest.mark.parametrize("way", ["srdfast", "srdfast in four calls", "torch"])
def bench_purify_lista(benchmark, size, way):
    """One step of LISTA; a side that the stride divides, so that all ways use the same patches."""
    rng = np.random.default_rng(0)
    images = (rng.random((size("images"), CHANNELS, size("side"), size("side"))) - 0.5).astype(np.float32)
    synthesis = rng.normal(size=(size("atoms"), CHANNELS * PATCH**2)).astype(np.float32)
    synthesis /= np.linalg.norm(synthesis, axis=1, keepdims=True)
    learned = 0.3 * synthesis, np.full(len(synthesis), 0.05, np.float32)
    tensors = [torch.from_numpy(array) for array in (images, *learned, synthesis)]
    calls = {
        "srdfast": lambda: srdfast.purify_patches(images, synthesis, srdfast.LISTA(steps=1), *learned),
        "srdfast in four calls": lambda: in_four_calls(images, *learned, synthesis),
        "torch": lambda: in_torch(*tensors).numpy(),
    }
    np.testing.assert_allclose(calls[way](), calls["srdfast"](), atol=1e-4)
    benchmark(calls[way])


@pytest.mark.benchmark(group="purify coders")
@pytest.mark.parametrize(
    "coder", [srdfast.OMP(), srdfast.Lasso(), srdfast.LISTA()], ids=["omp", "lasso", "lista"]
)
def bench_purify_coders(benchmark, size, coder):
    """The three coders with their default settings."""
    rng = np.random.default_rng(0)
    images = (rng.random((size("images"), CHANNELS, size("side"), size("side"))) - 0.5).astype(np.float32)
    synthesis = rng.normal(size=(size("atoms"), CHANNELS * PATCH**2)).astype(np.float32)
    synthesis /= np.linalg.norm(synthesis, axis=1, keepdims=True)
    learned = (
        (0.3 * synthesis, np.full(len(synthesis), 0.05, np.float32))
        if isinstance(coder, srdfast.LISTA)
        else ()
    )
    benchmark(lambda: srdfast.purify_patches(images, synthesis, coder, *learned))
