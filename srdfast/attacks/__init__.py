# SPDX-License-Identifier: Apache-2.0
"""Attacks: one function each, called alike, in one registry.

`ATTACKS[name](model, images, labels, epsilon=..., seed=...)` returns attacked images; `srdfast.attacks.base`
says what the arguments are. To add an attack, write a function of that form in a file of its family, and name
it in `ATTACKS`. All of them run in batches on the device of the images, give the same images for the same
seed, and need nothing but a callable from images to logits.

| file | attacks |
|---|---|
| `projected.py` | FGSM; PGD in L-infinity and L2 |
| `momentum.py` | MI-FGSM, VMI-FGSM: made to transfer |
| `apgd.py`, `fab.py`, `square.py`, `auto.py` | the parts of AutoAttack, and AutoAttack |
| `deepfool.py`, `carlini_wagner.py` | smallest changes in L2 |
| `low_band.py` | PGD within the low band |
| `corruptions.py` | no attack: common corruptions |
"""

from .apgd import apgd_ce, apgd_t
from .auto import auto_attack
from .base import Attack, Model
from .batches import attack_batches
from .carlini_wagner import carlini_wagner
from .corruptions import CORRUPTIONS
from .deepfool import deepfool
from .fab import fab_t
from .low_band import pgd_low_band
from .momentum import mi_fgsm, vmi_fgsm
from .projected import fgsm, pgd, pgd_l2
from .square import square

LINF_ATTACKS: dict[str, Attack] = {
    "fgsm": fgsm,
    "pgd": pgd,
    "mi_fgsm": mi_fgsm,
    "vmi_fgsm": vmi_fgsm,
    "apgd_ce": apgd_ce,
    "apgd_t": apgd_t,
    "fab_t": fab_t,
    "square": square,
    "auto_attack": auto_attack,
    "pgd_low_band": pgd_low_band,
}
L2_ATTACKS: dict[str, Attack] = {
    "pgd_l2": pgd_l2,
    "deepfool": deepfool,
    "carlini_wagner": carlini_wagner,
}
ATTACKS: dict[str, Attack] = LINF_ATTACKS | L2_ATTACKS
"""Every attack by name; the norm of its `epsilon` is that of the dictionary it is in."""

__all__ = [
    "ATTACKS",
    "CORRUPTIONS",
    "L2_ATTACKS",
    "LINF_ATTACKS",
    "Attack",
    "Model",
    "apgd_ce",
    "apgd_t",
    "attack_batches",
    "auto_attack",
    "carlini_wagner",
    "deepfool",
    "fab_t",
    "fgsm",
    "mi_fgsm",
    "pgd",
    "pgd_l2",
    "pgd_low_band",
    "square",
    "vmi_fgsm",
]
