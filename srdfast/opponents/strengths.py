# SPDX-License-Identifier: Apache-2.0
"""Strengths of the classic rivals, chosen on validation images of the training set, never on test images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .. import attacks
from ..rivals import Purify, jpeg, median, total_variation

CANDIDATES: dict[str, tuple[Callable[..., Purify], tuple[float, ...]]] = {
    "JPEG, quality": (jpeg, (90, 80, 70, 60, 50, 40, 30, 20, 10, 5, 3, 2)),
    "median, side": (median, (3, 5, 7)),
    "total variation,": (total_variation, (0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2)),
}


Scores = dict[str, dict[float, tuple[float, float]]]
"""By rival and strength: accuracy on clean and on attacked validation images, in [0, 1]."""


def measure_strengths(
    classifier: nn.Module,
    images: Tensor,
    labels: Tensor,
    epsilon: float = 8 / 255,
    batch: int = 100,
    seed: int = 0,
) -> Scores:
    """What each strength of each rival reaches, clean and under gray-box PGD.

    Args:
        classifier: the protected network.
        images: float [n, 3, height, width] in [0, 1], validation images.
        labels: int64 [n].
        epsilon: of the attack: PGD of 20 steps of a quarter of it.
        batch: images at a time.
        seed: of the attack's random start.
    """
    attacked = attacks.attack_batches(
        attacks.pgd,
        classifier,
        images,
        labels,
        batch=batch,
        description="strengths",
        epsilon=epsilon,
        step=epsilon / 4,
        steps=20,
        seed=seed,
    )

    def accuracy(rival: Purify, view: Tensor) -> float:
        return _accuracy(classifier, rival(view), labels, batch)

    return {
        name: {
            strength: (accuracy(make(strength), images), accuracy(make(strength), attacked))
            for strength in strengths
        }
        for name, (make, strengths) in CANDIDATES.items()
    }


def best_rivals(scores: Scores) -> dict[str, Purify]:
    """Each rival at the strength with the best mean of clean and attacked accuracy, the first of equals."""
    chosen = {}
    for name, reached in scores.items():
        best = max(reached, key=lambda strength: sum(reached[strength]))
        chosen[f"{name} {best:g}"] = CANDIDATES[name][0](best)
    return chosen


@torch.no_grad()
def _accuracy(classifier: nn.Module, images: Tensor, labels: Tensor, batch: int) -> float:
    answers = torch.cat([classifier(part).argmax(1) for part in images.split(batch)])
    return float((answers == labels).float().mean())
