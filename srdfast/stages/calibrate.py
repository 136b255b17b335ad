# SPDX-License-Identifier: Apache-2.0
"""The last choices for a trained purifier, on validation images: split, thresholds, choice of dictionaries.

What passes in the low band is as it was attacked, a higher threshold removes more and keeps less, and the
dictionary of all images can have a part where two classes are in doubt. What each is worth depends on the
images and the attacks; none needs gradients. They are searched in turn, each over its candidates, until none
changes or `ROUNDS` are over.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..attacks import ATTACKS, Model, attack_batches
from ..purifier import Purifier
from ..training import in_bfloat16
from .config import Config
from .pairs import IMAGES_TOGETHER

SPLIT_STRENGTH = 5.0  # where nothing else is said

CANDIDATES: dict[str, tuple[float, ...]] = {
    "split_strength": (2.5, 5.0, 10.0, 15.0, 30.0, 60.0),
    "thresholds": (0.7, 0.85, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0),
    "mirror": (False, True),
    "temperature": (0.0, 12.0, 24.0, 40.0, 60.0, 90.0),
}
ROUNDS = 3  # at most

ATTACKED_BY: dict[str, dict[str, int]] = {"fgsm": {}, "pgd": {"steps": 10, "seed": 0}, "mi_fgsm": {}}
"""Attacks and their options."""


@dataclass(frozen=True)
class Calibration:
    """What is chosen.

    Attributes:
        split_strength: of the low-pass filter.
        thresholds: factor of the trained thresholds.
        mirror: whether the encoder looks at the mirror image.
        temperature: of the choice between a cluster's dictionary and that of all images, in nats.
    """

    split_strength: float
    thresholds: float
    mirror: bool
    temperature: float

    @classmethod
    def given(cls, config: Config, start: Purifier | None = None) -> "Calibration":
        """What is chosen before the training: by the settings, else as in the purifier to go on from."""
        usual = cls(SPLIT_STRENGTH, 1.0, False, 0.0)
        if start:
            usual = cls(start.bank.split_strength, 1.0, start.mirror, start.temperature)
        names = ("split_strength", "mirror", "temperature")
        given: dict[str, Any] = {name: getattr(config, name) for name in names}
        return replace(usual, **{name: value for name, value in given.items() if value is not None})

    def of(self, purifier: Purifier) -> Purifier:
        """A purifier calibrated so; with `thresholds` 1 and its own other settings, the same one."""
        bank = purifier.bank
        assert bank.thresholds is not None
        return Purifier(
            replace(
                bank,
                split_strength=self.split_strength,
                thresholds=bank.thresholds * np.float32(self.thresholds),
            ),
            purifier.encoder,
            image_size=purifier.image_size,
            temperature=self.temperature,
            mirror=self.mirror,
        ).eval()


def attacked_views(
    classifier: Model,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    bf16: bool = True,
    progress: bool | None = None,
) -> list[Tensor]:
    """The images, and under each attack of `ATTACKED_BY` on the classifier alone (gray-box).

    Args:
        classifier: the protected one: images -> logits.
        images: float [n, channels, height, width] in [0, 1].
        labels: int64 [n].
        epsilon: radius of the attacks' L-infinity ball, in [0, 1].
        bf16: attack in bfloat16 where that is fast.
        progress: bars on stderr; by default only on a terminal.
    """
    with in_bfloat16(images.device, bf16):
        attacked = [
            attack_batches(
                ATTACKS[name],
                classifier,
                images,
                labels,
                epsilon=epsilon,
                progress=progress,
                description=f"calibrate: {name}",
                **options,
            ).float()
            for name, options in ATTACKED_BY.items()
        ]
    return [images, *attacked]


def calibrate(
    purifier: Purifier,
    classifier: Model,
    views: Sequence[Tensor],
    labels: Tensor,
    log: Callable[[str], None] = lambda line: None,
) -> Calibration:
    """The calibration with the best mean of two shares: right when clean, and right in every view.

    Args:
        purifier: with dictionaries in LISTA form, on the device of the views.
        classifier: the protected one: images -> logits.
        views: of images that neither the networks nor the refinement learned: first these, then attacked
            ones (`attacked_views`).
        labels: int64 [n].
        log: takes a line for every setting that is chosen.
    """

    @torch.no_grad()
    def score(calibration: Calibration) -> float:
        tried = calibration.of(purifier).to(labels.device)
        right = torch.stack([_right(tried, classifier, view, labels) for view in views])  # [views, images]
        return float(right[0].double().mean() + right.all(0).double().mean()) / 2

    start = Calibration(purifier.bank.split_strength, 1.0, purifier.mirror, purifier.temperature)
    settings = dict(CANDIDATES)
    if purifier.bank.general is None:
        del settings["temperature"]  # there is no other dictionary
    if len(purifier.bank.gaussians) == 1:
        del settings["mirror"]  # there is nothing to choose
    return _search(start, settings, score, log)


def _search(
    chosen: Calibration,
    settings: Mapping[str, Sequence[float]],
    score: Callable[[Calibration], float],
    log: Callable[[str], None],
) -> Calibration:
    """The best calibration that changes of one setting at a time lead to; of equals the first."""
    known = {chosen: score(chosen)}
    log(f"as trained: {known[chosen]:.4f}")
    for _ in range(ROUNDS):
        before = chosen
        for setting, candidates in settings.items():
            for value in candidates:
                change: dict[str, Any] = {setting: value}
                other = replace(chosen, **change)
                if other not in known:
                    known[other] = score(other)
                if known[other] > known[chosen]:
                    chosen = other
            log(f"{setting} {getattr(chosen, setting):g}: {known[chosen]:.4f}")
        if chosen == before:
            break
    return chosen


def _right(purifier: Purifier, classifier: Model, images: Tensor, labels: Tensor) -> Tensor:
    """Which of the purified images are classified rightly, bool [n]."""
    parts = [classifier(purifier(part)).argmax(1) for part in images.split(IMAGES_TOGETHER)]
    return torch.cat(parts) == labels
