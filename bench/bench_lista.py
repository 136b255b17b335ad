# SPDX-License-Identifier: Apache-2.0
"""LISTA beside the same steps in torch and numpy."""

import numpy as np
import pytest
import torch

import srdfast


def in_torch(signals, analysis, thresholds, synthesis, steps):
    """The steps as a torch user writes them."""
    codes = torch.nn.functional.softshrink(signals @ analysis.T, 0.0)
    codes = torch.sign(codes) * torch.relu(codes.abs() - thresholds)
    for _ in range(steps - 1):
        codes = codes + (signals - codes @ synthesis) @ analysis.T
        codes = torch.sign(codes) * torch.relu(codes.abs() - thresholds)
    return codes


def in_numpy(signals, analysis, thresholds, synthesis, steps):
    """The steps as a numpy user writes them."""
    codes = np.zeros((len(signals), len(synthesis)), np.float32)
    for _ in range(steps):
        codes = codes + (signals - codes @ synthesis) @ analysis.T
        codes = np.sign(codes) * np.maximum(np.abs(codes) - thresholds, 0)
    return codes


@pytest.mark.benchmark(group="lista")
@pytest.mark.parametrize("library", ["srdfast", "torch", "numpy"])
def bench_lista(benchmark, problem, size, library):
    """Codes of the whole batch."""
    signals, dictionary = problem
    step = np.float32(1 / np.linalg.norm(dictionary, 2) ** 2)
    arrays = signals, step * dictionary, np.full(len(dictionary), 0.1 * step, np.float32), dictionary
    tensors = [torch.from_numpy(array) for array in arrays]
    calls = {
        "srdfast": lambda: srdfast.lista(*arrays, steps=size("steps")).values,
        "torch": lambda: in_torch(*tensors, size("steps")).numpy(),
        "numpy": lambda: in_numpy(*arrays, size("steps")),
    }
    np.testing.assert_allclose(calls[library](), calls["srdfast"](), atol=1e-4)
    benchmark(calls[library])
