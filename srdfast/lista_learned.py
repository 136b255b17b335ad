# SPDX-License-Identifier: Apache-2.0
"""The gradient of LISTA by what was learned, atoms and thresholds, and by the signals with it, in torch.

A step from codes z, with r = x - zD, is moved = z + r E^T and z' = moved - clamp(moved, -thresholds,
thresholds): the gradient by z' passes to `moved` where that left the thresholds behind, and to the threshold
with the opposite of its sign. At a threshold of zero that is the derivative to the right.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

ON_A_GPU = 8192  # signals of a dictionary whose steps are in memory at once
ON_A_THREAD = 1024  # the same on a CPU, for each thread: what their steps read again still lies in its cache


def learned_gradients(
    grad: Tensor,
    signals: Tensor,
    analysis: Tensor,
    thresholds: Tensor,
    synthesis: Tensor,
    index: Tensor | None,
    steps: int,
    rebuilt: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients by signals, analysis, thresholds and synthesis; the first alone is `srdfast.lista_gradient`.

    Args:
        grad: by the codes [n, atoms], or where `rebuilt`, by the reconstructions [n, features].
        signals: [n, features].
        analysis: [atoms, features] or [dictionaries, atoms, features].
        thresholds: [atoms] or [dictionaries, atoms].
        synthesis: the shape of `analysis`.
        index: integers [n], the dictionary of each signal; None where there is one.
        steps: shrinkage steps.
        rebuilt: what `grad` belongs to.
    """
    count = len(signals)
    # Groups of dictionaries with signals are filled up with a row of zeros, which adds nothing to any sum.
    padded_grad, padded_signals = (
        torch.cat([part, part.new_zeros(1, part.shape[1])]) for part in (grad, signals)
    )
    of_signals = torch.zeros_like(padded_signals)
    of_learned = [part.new_zeros(part.shape) for part in (analysis, thresholds, synthesis)]
    stacks, sums = _stacked(analysis, thresholds, synthesis), _stacked(*of_learned)
    owners = torch.zeros(count, dtype=torch.int64, device=signals.device) if index is None else index.long()
    if signals.is_cuda:
        groups, together = _all_at_once, ON_A_GPU  # it waits for each small product
    else:
        groups, together = _one_by_one, ON_A_THREAD * torch.get_num_threads()
    parts = (
        (dictionaries, part)
        for dictionaries, rows in groups(owners, len(stacks[0]))
        for part in rows.split(together, dim=1)
    )
    for dictionaries, rows in parts:
        own_analysis, own_thresholds, own_synthesis = (stack[dictionaries] for stack in stacks)
        of_signals[rows], *of_own = _through_steps(
            padded_grad[rows],
            padded_signals[rows],
            own_analysis,
            own_thresholds[:, None],
            own_synthesis,
            steps,
            rebuilt,
        )
        for total, part in zip(sums, of_own, strict=True):
            total[dictionaries] += part
    return of_signals[:count], of_learned[0], of_learned[1], of_learned[2]


def _stacked(analysis: Tensor, thresholds: Tensor, synthesis: Tensor) -> tuple[Tensor, ...]:
    """One dictionary as a stack of one."""
    return tuple(
        part if part.ndim == rank else part[None]
        for part, rank in zip((analysis, thresholds, synthesis), (3, 2, 3), strict=True)
    )


def _one_by_one(index: Tensor, dictionaries: int) -> Iterator[tuple[slice, Tensor]]:
    """Each dictionary in use with its signals, int64 [1, signals]."""
    sizes = index.bincount(minlength=dictionaries).tolist()
    for dictionary, rows in enumerate(index.argsort(stable=True).split(sizes)):
        if len(rows):
            yield slice(dictionary, dictionary + 1), rows[None]


def _all_at_once(index: Tensor, dictionaries: int) -> Iterator[tuple[slice, Tensor]]:
    """All dictionaries with their signals, int64 [dictionaries, signals], filled up with len(index)."""
    order, sizes = index.argsort(stable=True), index.bincount(minlength=dictionaries)
    owners = index[order]
    places = torch.arange(len(index), device=index.device) - (sizes.cumsum(0) - sizes)[owners]
    rows = index.new_full((dictionaries, int(sizes.max())), len(index))
    rows[owners, places] = order
    yield slice(0, dictionaries), rows


def _through_steps(
    grad: Tensor,
    signals: Tensor,
    analysis: Tensor,
    thresholds: Tensor,
    synthesis: Tensor,
    steps: int,
    rebuilt: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same for signals [group, n, features], each of its own of `group` dictionaries.

    The thresholds are [group, 1, atoms], their gradient [group, atoms].
    """
    codes, moved, rests = [], [signals @ analysis.mT], [signals]  # codes are zero before the first step
    for _ in range(steps - 1):
        codes.append(_shrunk(moved[-1], thresholds))
        rests.append(signals - codes[-1] @ synthesis)
        moved.append(codes[-1] + rests[-1] @ analysis.mT)
    of_signals = torch.zeros_like(signals)
    of_analysis, of_synthesis = torch.zeros_like(analysis), torch.zeros_like(synthesis)
    of_thresholds = thresholds.new_zeros(thresholds.shape[0], thresholds.shape[2])
    if rebuilt:
        of_synthesis += _shrunk(moved[-1], thresholds).mT @ grad
    of_codes = grad @ synthesis.mT if rebuilt else grad
    for step in reversed(range(steps)):
        of_moved = of_codes * (moved[step].abs() > thresholds)
        of_rest = of_moved @ analysis
        of_signals += of_rest
        of_thresholds -= (of_moved * moved[step].sign()).sum(1)
        of_analysis += of_moved.mT @ rests[step]
        if step > 0:
            of_codes = of_moved - of_rest @ synthesis.mT
            of_synthesis -= codes[step - 1].mT @ of_rest
    return of_signals, of_analysis, of_thresholds, of_synthesis


def _shrunk(moved: Tensor, thresholds: Tensor) -> Tensor:
    return moved - moved.clamp(-thresholds, thresholds)
