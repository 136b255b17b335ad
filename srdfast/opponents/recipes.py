# SPDX-License-Identifier: Apache-2.0
"""How much the opponents are trained, for each preset of the evaluation."""

from dataclasses import asdict, dataclass
from typing import Any

STEMS = {  # of the settings in a recipe that belong to one opponent alone
    "one_dictionary": "dictionary_",
    "denoiser": "denoiser_",
    "second": "second_",
    "behind": "tuning_",
    "control": "tuning_",
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
        own = STEMS.get(name, "pairs")
        return {
            key: value
            for key, value in asdict(self).items()
            if key.startswith(own) or not key.startswith(tuple(STEMS.values()))
        }


RECIPES = {
    "quick": Recipe(pairs=2_000, denoiser_epochs=2, tuning_epochs=1, second_images=100_000),
    "standard": Recipe(pairs=10_000, denoiser_epochs=4, tuning_epochs=2, second_images=300_000),
    "full": Recipe(),
}
