# SPDX-License-Identifier: Apache-2.0
"""The gradients on the supports of OMP and the lasso beside batched systems of equations in torch.

torch takes some signals at a time, gathers the atoms of their supports, padded to the largest, and solves by
`torch.linalg.solve`, with a ridge of some roundings for supports whose atoms depend.
"""

import numpy as np
import pytest
import torch

import srdfast
from srdfast import OMP, Lasso
from srdfast.codes import Coder
from srdfast.microbench import support_gradient_work

RIDGE_ROUNDINGS = 16
TOGETHER = 2048  # signals: bounds the memory of the copies of atoms


def on_supports(grad, support, dictionary, rebuilt):
    """The gradient by signals as a torch user writes it; `support` is OMP's indices or the lasso's codes."""
    pairs = zip(grad.split(TOGETHER), support.split(TOGETHER), strict=True)
    return torch.cat([_of_some(*pair, dictionary, rebuilt) for pair in pairs])


def _of_some(grad, support, dictionary, rebuilt):
    chosen = support >= 0 if support.dtype == torch.int32 else support != 0
    chosen, order = chosen.to(torch.int8).sort(dim=1, descending=True, stable=True)
    most = max(1, int(chosen.sum(1).max()))
    present, order = chosen[:, :most, None].to(dictionary.dtype), order[:, :most]
    numbers = support.gather(1, order).clamp(min=0).long() if support.dtype == torch.int32 else order
    atoms = dictionary[numbers] * present  # [n, most, features], zero where there is no atom
    gram = atoms @ atoms.mT + torch.diag_embed(1 - present[..., 0])
    gram.diagonal(dim1=-2, dim2=-1).mul_(1 + RIDGE_ROUNDINGS * torch.finfo(gram.dtype).eps)
    right = atoms @ grad[..., None] if rebuilt else grad.gather(1, order)[..., None] * present
    return (atoms.mT @ torch.linalg.solve(gram, right))[..., 0]


def supports_of(signals, dictionary, coder: Coder):
    """What a coder hands to its gradient, and how many atoms a signal has on average."""
    if isinstance(coder, OMP):
        support = srdfast.omp(signals, dictionary, coder.max_atoms).indices
        return support, float((support >= 0).sum() / len(support))
    support = srdfast.lasso(signals, dictionary, coder.penalty, coder.gap_tolerance).values
    return support, float((support != 0).sum() / len(support))


@pytest.mark.parametrize("library", ["srdfast", "torch"])
@pytest.mark.parametrize("rebuilt", [False, True], ids=["codes", "reconstructions"])
@pytest.mark.parametrize("features", [64, 192])
@pytest.mark.parametrize("coder", [OMP(4), OMP(8), Lasso(0.1, 1e-5), Lasso(0.02, 1e-5)], ids=str)
def bench_support_gradient(timed, problem, coder, features, rebuilt, library):
    signals, dictionary = problem(features, 256)
    support, mean = supports_of(signals, dictionary, coder)
    grad = signals if rebuilt else np.random.default_rng(0).standard_normal(support.shape, np.float32)
    prepared = srdfast.prepare(dictionary)
    tensors = [torch.from_numpy(array) for array in (grad, support, dictionary)]
    calls = {
        "srdfast": lambda: srdfast.support_gradient(grad, support, prepared, rebuilt=rebuilt),
        "torch": lambda: on_supports(*tensors, rebuilt).numpy(),
    }
    found, expected = calls[library](), calls["srdfast"]()
    scale = np.maximum(np.abs(expected).max(1), np.abs(grad).max(1))
    assert np.mean(np.abs(found - expected).max(1) <= 1e-2 * scale) > 0.99  # supports may be near dependent
    kind = "reconstructions" if rebuilt else "codes"
    timed(
        calls[library], "support gradient", f"{features} features, {coder}, of {kind}", library, len(signals),
        "signals", work=support_gradient_work(features, round(mean), rebuilt),
        notes=f"{mean:.1f} atoms a signal",
    )  # fmt: skip
