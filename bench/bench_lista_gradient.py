# SPDX-License-Identifier: Apache-2.0
"""The gradient of LISTA by its signals beside autograd through the same expression in torch.

torch takes the steps and goes back through them in each call, as the kernel does.
"""

import numpy as np
import pytest
import torch
from bench_lista import in_torch

import srdfast
from srdfast.microbench import lista_gradient_work


def by_autograd(grad, signals, learned, steps, rebuilt):
    """The gradient as a torch user gets it."""
    with torch.enable_grad():
        leaf = signals.detach().requires_grad_()
        codes = in_torch(leaf, *learned, steps)
        return torch.autograd.grad(codes @ learned[2] if rebuilt else codes, leaf, grad)[0]


@pytest.mark.parametrize("library", ["srdfast", "torch"])
@pytest.mark.parametrize("rebuilt", [False, True], ids=["codes", "reconstructions"])
@pytest.mark.parametrize("steps", [1, 3])
def bench_lista_gradient(timed, learned, sized, steps, rebuilt, library):
    features, atoms = 192, 256
    synthesis, analysis, thresholds = learned(features, atoms)
    rng = np.random.default_rng(0)
    signals = rng.standard_normal((sized(16384, 64), features), np.float32)
    grad = rng.standard_normal((len(signals), features if rebuilt else atoms), np.float32)
    backward = srdfast.prepare(analysis, synthesis, thresholds)
    forward = srdfast.prepare(synthesis, analysis, thresholds)
    tensors = [torch.from_numpy(array) for array in (grad, signals, analysis, thresholds, synthesis)]
    calls = {
        "srdfast": lambda: srdfast.lista_gradient(
            grad, signals, backward, None, forward, steps, rebuilt=rebuilt
        ),
        "torch": lambda: by_autograd(*tensors[:2], tensors[2:], steps, rebuilt).numpy(),
    }
    apart = np.abs(calls[library]() - calls["srdfast"]()).max(1)
    assert np.mean(apart < 1e-4) > 0.99  # rounding may decide whether a code moves
    kind = "reconstructions" if rebuilt else "codes"
    timed(
        calls[library], "lista gradient", f"192 features, 256 atoms, {steps} steps, of {kind}", library,
        len(signals), "signals", work=lista_gradient_work(features, atoms, steps, rebuilt),
    )  # fmt: skip
