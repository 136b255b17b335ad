# SPDX-License-Identifier: Apache-2.0
"""Extract, code, rebuild and average, fused, on prepared dictionaries; torch: unfold, products, fold."""

import numpy as np
import pytest
import torch

import srdfast
from srdfast import LISTA, OMP
from srdfast.microbench import purify_work

CASES = [  # images, channels, height, width, stride, coder
    *((256, 3, 32, 32, stride, coder) for stride in (2, 4) for coder in (LISTA(1), LISTA(3), OMP(4))),
    *((1, 1, 1080, 1920, 4, coder) for coder in (OMP(4), OMP(2), LISTA(1))),
]


def in_torch(images, analysis, thresholds, synthesis, steps, stride):
    """LISTA on all patches as a torch user writes it."""
    columns = torch.nn.functional.unfold(images, 8, stride=stride)  # [batch, features, positions]
    patches = columns.transpose(1, 2)
    codes = shrink(patches @ analysis.T, thresholds)
    for _ in range(steps - 1):
        codes = shrink(codes + (patches - codes @ synthesis) @ analysis.T, thresholds)
    rebuilt = (codes @ synthesis).transpose(1, 2)
    size = images.shape[-2:]
    cover = torch.nn.functional.fold(torch.ones_like(rebuilt[:1]), size, 8, stride=stride)
    return torch.nn.functional.fold(rebuilt, size, 8, stride=stride) / cover


def shrink(values, thresholds):
    return values - torch.clamp(values, -thresholds, thresholds)


def describe(channels, height, width, stride, coder):
    depth = coder.max_atoms if isinstance(coder, OMP) else coder.steps
    return f"{width}x{height}x{channels}, stride {stride}, {type(coder).__name__}({depth})"


@pytest.mark.parametrize(
    ("count", "channels", "height", "width", "stride", "coder", "library"),
    [(*case, "srdfast") for case in CASES]
    + [(*case, "torch") for case in CASES if isinstance(case[-1], LISTA)],
)
def bench_purify(timed, learned, crops, quick, count, channels, height, width, stride, coder, library):
    lista = isinstance(coder, LISTA)
    if quick:
        count, height, width = min(count, 4), min(height, 64), min(width, 96)
    synthesis, analysis, thresholds = learned(64 * channels, 256)
    images = srdfast.split(crops(count, channels, height, width))[1]
    prepared = srdfast.prepare(synthesis, *((analysis, thresholds) if lista else ()))

    def rebuild():
        return srdfast.purify_patches(images, prepared, coder, stride=stride)

    def rebuild_in_torch():
        tensors = [torch.from_numpy(array) for array in (images, analysis, thresholds, synthesis)]
        return in_torch(*tensors, coder.steps, stride).numpy()

    call = rebuild if library == "srdfast" else rebuild_in_torch
    np.testing.assert_allclose(call(), rebuild(), atol=1e-4)
    timed(
        call, "purify patches", describe(channels, height, width, stride, coder), library, count,
        "images" if count > 1 else "frames", rounds=7 if library == "srdfast" else 3,
        work=purify_work((channels, height, width), 256, coder, stride=stride),
    )  # fmt: skip
