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
        effort: how much the attacker does, with names of settings in braces; empty: its name says all.
    """

    heading: str
    group: str
    run: Callable[[attacks.Model, Tensor, Tensor, Settings, int], Tensor]
    effort: str = ""


def _pgd(m: attacks.Model, x: Tensor, y: Tensor, s: Settings, seed: int) -> Tensor:
    return attacks.pgd(m, x, y, s.epsilon, s.step, s.steps, seed=seed)


def _long_pgd(m: attacks.Model, x: Tensor, y: Tensor, s: Settings, seed: int) -> Tensor:
    return attacks.pgd(m, x, y, s.epsilon, s.step / 4, s.long_steps, seed=seed)


def _mi(m: attacks.Model, x: Tensor, y: Tensor, s: Settings, seed: int) -> Tensor:
    return attacks.mi_fgsm(m, x, y, s.epsilon, MOMENTUM_STEPS)


def _vmi(m: attacks.Model, x: Tensor, y: Tensor, s: Settings, seed: int) -> Tensor:
    return attacks.vmi_fgsm(m, x, y, s.epsilon, MOMENTUM_STEPS, neighbours=s.neighbours, seed=seed)


def _pgd_l2(m: attacks.Model, x: Tensor, y: Tensor, s: Settings, seed: int) -> Tensor:
    return attacks.pgd_l2(m, x, y, s.epsilon_l2, steps=s.steps, seed=seed)


def _auto(m: attacks.Model, x: Tensor, y: Tensor, s: Settings, seed: int) -> Tensor:
    return attacks.auto_attack(m, x, y, s.epsilon, s.auto_steps, s.targets, s.queries, seed)


def _deepfool(m: attacks.Model, x: Tensor, y: Tensor, s: Settings, seed: int) -> Tensor:
    return attacks.deepfool(m, x, y, s.epsilon_l2, DEEPFOOL_STEPS)


def _carlini_wagner(m: attacks.Model, x: Tensor, y: Tensor, s: Settings, seed: int) -> Tensor:
    return attacks.carlini_wagner(m, x, y, s.epsilon_l2, s.carlini_steps, confidence=s.confidence)


def _corrupt(name: str, m: attacks.Model, x: Tensor, y: Tensor, s: Settings, seed: int) -> Tensor:
    return attacks.CORRUPTIONS[name](x, s.severity, seed=seed)


MOMENTUM_STEPS, DEEPFOOL_STEPS = 10, 50  # as their authors took
LINF, L2, CORRUPTION = "gray-box", "gray-box L2", "corruption"

GRAY_BOX: dict[str, GrayBox] = {
    "fgsm": GrayBox("FGSM", LINF, lambda m, x, y, s, seed: attacks.fgsm(m, x, y, s.epsilon), "one step"),
    "pgd": GrayBox("PGD", LINF, _pgd, "{steps} steps"),
    "pgd_long": GrayBox("PGD, long", LINF, _long_pgd, "{long_steps} steps"),
    "mi_fgsm": GrayBox("MI-FGSM", LINF, _mi, f"{MOMENTUM_STEPS} steps"),
    "vmi_fgsm": GrayBox("VMI-FGSM", LINF, _vmi, f"{MOMENTUM_STEPS} steps"),
    "auto_attack": GrayBox("AutoAttack", LINF, _auto, "{auto_steps} steps, {queries} queries"),
    "pgd_l2": GrayBox("PGD", L2, _pgd_l2, "{steps} steps"),
    "deepfool": GrayBox("DeepFool", L2, _deepfool, f"at most {DEEPFOOL_STEPS} steps"),
    "carlini_wagner": GrayBox("C&W", L2, _carlini_wagner, "{carlini_steps} steps for each weight"),
    **{
        name: GrayBox(name.replace("_", " "), CORRUPTION, partial(_corrupt, name))
        for name in attacks.CORRUPTIONS
    },
}
