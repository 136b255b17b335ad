# SPDX-License-Identifier: Apache-2.0
"""Attackers who know a network and not the defence before it, and corruptions that know nothing.

The images are made once for each network and shown to every row. To add a column, name it in `GRAY_BOX`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from .. import attacks

if TYPE_CHECKING:
    from .settings import Settings


@dataclass(frozen=True)
class GrayBox:
    """One gray-box column.

    Attributes:
        heading: of the column.
        group: "gray-box" (L-infinity), "gray-box L2" or "corruption".
        run: (model, images, labels, settings, seed) -> images.
    """

    heading: str
    group: str
    run: Callable[[attacks.Model, Tensor, Tensor, Settings, int], Tensor]


def _pgd(m: attacks.Model, x: Tensor, y: Tensor, s: Settings, seed: int) -> Tensor:
    return attacks.pgd(m, x, y, s.epsilon, s.step, s.steps, seed=seed)


def _long_pgd(m: attacks.Model, x: Tensor, y: Tensor, s: Settings, seed: int) -> Tensor:
    return attacks.pgd(m, x, y, s.epsilon, s.step / 4, s.long_steps, seed=seed)


def _vmi(m: attacks.Model, x: Tensor, y: Tensor, s: Settings, seed: int) -> Tensor:
    return attacks.vmi_fgsm(m, x, y, s.epsilon, neighbours=s.neighbours, seed=seed)


def _auto(m: attacks.Model, x: Tensor, y: Tensor, s: Settings, seed: int) -> Tensor:
    return attacks.auto_attack(m, x, y, s.epsilon, s.auto_steps, s.targets, s.queries, seed)


def _carlini_wagner(m: attacks.Model, x: Tensor, y: Tensor, s: Settings, seed: int) -> Tensor:
    return attacks.carlini_wagner(m, x, y, s.epsilon_l2, s.carlini_steps, confidence=s.confidence)


def _corrupt(name: str, m: attacks.Model, x: Tensor, y: Tensor, s: Settings, seed: int) -> Tensor:
    return attacks.CORRUPTIONS[name](x, s.severity, seed=seed)


LINF, L2, CORRUPTION = "gray-box", "gray-box L2", "corruption"

GRAY_BOX: dict[str, GrayBox] = {
    "fgsm": GrayBox("FGSM", LINF, lambda m, x, y, s, seed: attacks.fgsm(m, x, y, s.epsilon)),
    "pgd": GrayBox("PGD", LINF, _pgd),
    "pgd_long": GrayBox("PGD, long", LINF, _long_pgd),
    "mi_fgsm": GrayBox("MI-FGSM", LINF, lambda m, x, y, s, seed: attacks.mi_fgsm(m, x, y, s.epsilon, 10)),
    "vmi_fgsm": GrayBox("VMI-FGSM", LINF, _vmi),
    "auto_attack": GrayBox("AutoAttack", LINF, _auto),
    "pgd_l2": GrayBox(
        "PGD", L2, lambda m, x, y, s, seed: attacks.pgd_l2(m, x, y, s.epsilon_l2, steps=s.steps, seed=seed)
    ),
    "deepfool": GrayBox("DeepFool", L2, lambda m, x, y, s, seed: attacks.deepfool(m, x, y, s.epsilon_l2)),
    "carlini_wagner": GrayBox("C&W", L2, _carlini_wagner),
    **{
        name: GrayBox(name.replace("_", " "), CORRUPTION, partial(_corrupt, name))
        for name in attacks.CORRUPTIONS
    },
}
