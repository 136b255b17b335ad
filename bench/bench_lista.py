# SPDX-License-Identifier: Apache-2.0
"""LISTA beside the same expression in torch."""

import numpy as np
import pytest
import torch

import srdfast
from srdfast.microbench import lista_work


def in_torch(signals, analysis, thresholds, synthesis, steps):
    """The steps as a torch user writes them; z = 0 leaves one product of the first."""
    codes = shrink(signals @ analysis.T, thresholds)
    for _ in range(steps - 1):
        codes = shrink(codes + (signals - codes @ synthesis) @ analysis.T, thresholds)
    return codes


def shrink(values, thresholds):
    return values - torch.clamp(values, -thresholds, thresholds)


@pytest.mark.parametrize("library", ["srdfast", "torch"])
@pytest.mark.parametrize("steps", [1, 3])
def bench_lista(timed, learned, sized, steps, library):
    synthesis, analysis, thresholds = learned(192, 256)
    signals = np.random.default_rng(0).standard_normal((sized(16384, 64), 192), np.float32)
    tensors = [torch.from_numpy(array) for array in (signals, analysis, thresholds, synthesis)]
    calls = {
        "srdfast": lambda: srdfast.lista(signals, analysis, thresholds, synthesis, steps).values,
        "torch": lambda: in_torch(*tensors, steps).numpy(),
    }
    np.testing.assert_allclose(calls[library](), calls["srdfast"](), atol=1e-4)
    timed(
        calls[library], "lista", f"192 features, 256 atoms, {steps} steps", library, len(signals), "signals",
        work=lista_work(192, 256, steps),
    )  # fmt: skip
