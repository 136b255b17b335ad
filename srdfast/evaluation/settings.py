# SPDX-License-Identifier: Apache-2.0
"""The settings of an evaluation: budgets, steps, queries and samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .adaptive import ADAPTIVE
from .gray_box import GRAY_BOX


@dataclass(frozen=True)
class Settings:
    """The attacks, in the maximum norm unless stated, on images in [0, 1].

    Attributes:
        attacks: gray-box attacks, names of `srdfast.evaluation.gray_box.GRAY_BOX`.
        adaptive: adaptive attacks, names of `srdfast.evaluation.adaptive.ADAPTIVE`.
        epsilon: largest change of a pixel.
        step: length of a step of PGD, gray-box and adaptive.
        steps: steps of the gray-box PGD, in the maximum norm and in L2; the other gray-box attacks take
            `long_steps`, `auto_steps`, `carlini_steps` or those of their authors.
        long_steps: steps of the long PGD, each a quarter as long.
        epsilon_l2: largest L2 norm of a change, of the L2 attacks.
        carlini_steps: steps of the attack of Carlini and Wagner for each weight.
        confidence: by how much its target must lead.
        neighbours: of VMI-FGSM, drawn each step.
        auto_steps: steps of the gradient attacks within AutoAttack.
        targets: classes that its targeted attacks try.
        queries: of Square, alone and within AutoAttack.
        severity: of the corruptions, 1 to 5.
        adaptive_steps: steps of the adaptive attacks.
        adaptive_images: a class-balanced subset of so many images is attacked adaptively; 0: none.
        checks: look for signs of masked gradients and randomness (`srdfast.evaluation.checks`).
        batch: images at a time.
        seed: of the random starts.
    """

    attacks: tuple[str, ...] = ("fgsm", "pgd", "mi_fgsm")
    adaptive: tuple[str, ...] = ("bpda", "exact")
    epsilon: float = 8 / 255
    step: float = 2 / 255
    steps: int = 10
    long_steps: int = 100
    epsilon_l2: float = 0.5
    carlini_steps: int = 100
    confidence: float = 0.0
    neighbours: int = 20
    auto_steps: int = 100
    targets: int = 9
    queries: int = 5000
    severity: int = 3
    adaptive_steps: int = 20
    adaptive_images: int = 1000
    checks: bool = False
    batch: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for option, known in (("attacks", GRAY_BOX), ("adaptive", ADAPTIVE)):
            for name in getattr(self, option):
                if name not in known:
                    raise ValueError(f"{option}: expected names among {sorted(known)}, got {name!r}")
        for option in ("batch", "steps", "long_steps", "adaptive_steps", "auto_steps", "queries", "targets"):
            if getattr(self, option) < 1:
                raise ValueError(f"{option}: expected 1 or more, got {getattr(self, option)}")
        if not 0 <= self.epsilon <= 1:
            raise ValueError(f"epsilon: expected 0 to 1, got {self.epsilon}")
        if not 0 <= self.epsilon_l2 < math.inf:
            raise ValueError(f"epsilon_l2: expected a finite number, 0 or more, got {self.epsilon_l2}")
        for option in ("adaptive_images", "seed"):
            if getattr(self, option) < 0:
                raise ValueError(f"{option}: expected 0 or more, got {getattr(self, option)}")
