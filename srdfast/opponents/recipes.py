# SPDX-License-Identifier: Apache-2.0
"""How much the opponents are trained, for each preset of the evaluation."""

from dataclasses import dataclass
from typing import Any

COMMON = ("validation", "seed")
ATTACKED = ("pairs", "epsilon")
OWN: dict[str, tuple[str, ...]] = {  # the settings that each opponent depends on, beside those of all
    "attacked": ATTACKED,
    "purified": ATTACKED,
    "one_dictionary": (*ATTACKED, "dictionary_epochs", "dictionary_rate"),
    "denoiser": (*ATTACKED, "denoiser_epochs", "denoiser_rate"),
    "behind": (*ATTACKED, "tuning_epochs", "tuning_rate"),
    "control": (*ATTACKED, "tuning_epochs", "tuning_rate"),
    "second": ("second_images", "second_rate"),
}


@dataclass(frozen=True)
class Recipe:
    """How much the opponents are trained.

    Attributes:
        pairs: training images that are attacked, for all but the second classifier.
        denoiser_epochs: passes over them.
        denoiser_rate: peak learning rate (Adam).
        dictionary_epochs: passes of the one dictionary.
        dictionary_rate: peak learning rate (Adam).
        tuning_epochs: passes over them and their attacked versions, of `behind` and `control`.
        tuning_rate: peak learning rate (SGD).
        second_images: training images that the second classifier sees, over all passes.
        second_rate: peak learning rate (SGD).
        validation: share of the training images kept aside, as the purifier's training did.
        epsilon: radius of the attacks, in [0, 1].
        seed: of everything.
    """

    pairs: int = 20_000
    denoiser_epochs: int = 6
    denoiser_rate: float = 1e-3
    dictionary_epochs: int = 2
    dictionary_rate: float = 3e-4
    tuning_epochs: int = 4
    tuning_rate: float = 0.02
    second_images: int = 600_000
    second_rate: float = 0.1
    validation: float = 0.02
    epsilon: float = 8 / 255
    seed: int = 0

    def of(self, name: str) -> dict[str, Any]:
        """The settings that the opponent `name` depends on: those of all, and its own."""
        return {setting: getattr(self, setting) for setting in (*COMMON, *OWN[name])}


RECIPES = {
    "quick": Recipe(pairs=2_000, denoiser_epochs=2, tuning_epochs=1, second_images=100_000),
    "standard": Recipe(pairs=10_000, denoiser_epochs=4, tuning_epochs=2, second_images=300_000),
    "full": Recipe(),
}
