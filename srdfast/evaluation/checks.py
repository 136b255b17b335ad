# SPDX-License-Identifier: Apache-2.0
"""Signs that an evaluation is weaker than it looks: the flags of AutoAttack, and sanity checks.

After `flags_doc.md` of AutoAttack (Croce and Hein 2020, arXiv 2003.01690) and the checklist of Carlini et al.
2019 (arXiv 1902.06705): randomness, vanishing gradients, a black-box attack that does better than those
with gradients, an attack without bound that fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..attacks.base import gradient_of, margin
from ..defences import Pipeline, Row

FORWARDS = 5
LARGEST_DIFFERENCE = 1e-4  # between two runs of the same batch, relative to the largest logit
LARGEST_LEAD = 0.2  # points of accuracy that Square may take beyond the attacks with gradients
WHITE_BOX = ("bpda", "bpda_low", "exact", "each_dictionary", "selector", "joint", "low_band")


@dataclass(frozen=True)
class Check:
    """One finding on one row.

    Attributes:
        name: what was checked.
        passed: whether all is as it should be.
        value: what was measured.
        expected: what was to be expected of it, in words.
    """

    name: str
    passed: bool
    value: float
    expected: str

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def check_gradients(row: Row, classifier: nn.Module, images: Tensor, labels: Tensor) -> list[Check]:
    """Whether the row answers the same batch alike each time, and has gradients to follow.

    Args:
        row: the defence.
        classifier: the protected network.
        images: float [batch, 3, height, width] in [0, 1].
        labels: int64 [batch].
    """
    pipeline = Pipeline(row, classifier, labels, "exact")
    with torch.no_grad():
        logits = torch.stack([pipeline(images) for _ in range(FORWARDS)])  # [runs, batch, classes]
    largest = float(logits.abs().amax().clamp_min(1e-12))
    difference = float((logits - logits[:1]).abs().amax()) / largest
    gradient = gradient_of(pipeline, images, labels, margin)  # which does not saturate, as cross-entropy may
    absent = float((gradient.flatten(1).abs().amax(1) == 0).float().mean())
    return [
        Check("deterministic", difference < LARGEST_DIFFERENCE, difference, f"below {LARGEST_DIFFERENCE:g}"),
        Check("images without gradient", absent == 0, absent, "0"),
        Check(
            "outputs that are probabilities", not _are_probabilities(logits), float(logits.min()), "logits"
        ),
    ]


def _are_probabilities(outputs: Tensor) -> bool:
    sums = outputs.sum(-1)
    return bool((outputs >= 0).all()) and bool(((sums - 1).abs() < 1e-3).all())


def check_outcomes(right: Mapping[str, np.ndarray]) -> list[Check]:
    """What the columns of one row say of each other.

    Args:
        right: for each adaptive column which of the same images were right, bool [images].
    """
    found = []
    white = [right[name] for name in WHITE_BOX if name in right]
    if white and "square" in right:
        standing = np.logical_and.reduce(white)
        lead = 100 * float((standing & ~right["square"]).mean())
        found.append(
            Check("points that Square alone takes", lead <= LARGEST_LEAD, lead, f"at most {LARGEST_LEAD:g}")
        )
    if "unbounded" in right:
        left = 100 * float(right["unbounded"].mean())
        found.append(Check("left by the attack without bound", left == 0, left, "0"))
    return found
