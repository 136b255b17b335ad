# SPDX-License-Identifier: Apache-2.0
"""Attackers who know the whole defence: what each one does to one batch of one row.

An adaptive attack is a function of a `Case` that returns attacked images; `ADAPTIVE` names them. To add one,
write the function and name it there. Sources: BPDA, Athalye, Carlini and Wagner 2018 (arXiv 1802.00420);
attacks on every part and choice of a defence, Tramer et al. 2020 (arXiv 2002.08347).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .. import attacks
from ..attacks.base import cross_entropy, is_right, margin
from ..choice import choose, likelihood_terms, log_likelihoods
from ..defences import Pipeline, Row, fixed_dictionary_row
from ..encoding import seen_by

if TYPE_CHECKING:
    from ..purifier import Purifier
    from .settings import Settings

SELECTOR_WEIGHT = 1.0  # of the choice's cross-entropy beside the classifier's in the joint attack
UNBOUNDED_STEPS, UNBOUNDED_STEP = 100, 0.05
USUAL_BAND = 5.0  # strength of the split whose low band holds what a stronger one rebuilds


@dataclass(frozen=True)
class Case:
    """One row and one batch under attack.

    Attributes:
        row: the defence.
        classifier: the protected network.
        images: float [batch, 3, height, width] in [0, 1].
        labels: int64 [batch].
        settings: budget, steps and queries.
        seed: of the random starts.
    """

    row: Row
    classifier: nn.Module
    images: Tensor
    labels: Tensor
    settings: Settings
    seed: int

    def pipeline(self, backward: str = "exact") -> Pipeline:
        """The whole defence as a module; `backward` as `Pipeline` takes it."""
        return Pipeline(self.row, self.classifier, self.labels, backward)

    def pgd(self, model: attacks.Model) -> Tensor:
        """PGD of the adaptive steps on any model of the batch."""
        settings = self.settings
        return attacks.pgd(
            model,
            self.images,
            self.labels,
            settings.epsilon,
            settings.step,
            settings.adaptive_steps,
            seed=self.seed,
        )


@dataclass(frozen=True)
class Adaptive:
    """One adaptive column.

    Attributes:
        heading: of the column.
        meaning: one sentence on what the attacker does.
        run: the attack.
        applies: to which rows.
        counts: whether an image it breaks counts as broken in the worst case (a sanity check does not).
        group: the threat model, "adaptive" or "black box".
        of_band: whether it depends on `bands_of` the row.
    """

    heading: str
    meaning: str
    run: Callable[[Case], Tensor]
    applies: Callable[[Row], bool] = lambda row: True
    counts: bool = True
    group: str = "adaptive"
    of_band: bool = False


class Selector(nn.Module):
    """A purifier's choice of dictionary as a classifier: images -> log-likelihood of each class.

    The logit of a class is the largest log prior + log density among its clusters, a latent feature.

    Args:
        purifier: whose choice it is.
        classes: number of classes.
    """

    def __init__(self, purifier: Purifier, classes: int) -> None:
        super().__init__()
        self.purifier, self.classes = purifier, classes
        self.terms, self.labels = likelihood_terms(purifier.tables()), purifier.cluster_labels

    def forward(self, images: Tensor) -> Tensor:
        """Logits float64 [batch, classes]."""
        purifier = self.purifier
        _, scores = choose(
            images, self._look, self._likeliest, purifier.doubt(), purifier.mirror, counted=False
        )  # [batch, clusters]
        lowest = torch.finfo(scores.dtype).min / 1e6
        own = [scores[:, self.labels == label] for label in range(self.classes)]
        best = [part.amax(1) if part.shape[1] else part.new_full((len(part),), lowest) for part in own]
        return torch.stack(best, 1) / purifier.encoder.latent

    def _look(self, images: Tensor) -> Tensor:
        """The encoder's latents with their gradient, unlike the purifier's own."""
        encoder = self.purifier.encoder
        return encoder.latents(seen_by(encoder, images, self.purifier.image_size))

    def _likeliest(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        scores = log_likelihoods(self.terms, latents)
        return scores.argmax(1), scores


def bpda(case: Case) -> Tensor:
    """PGD with the defence's gradient taken as the identity; without a defence, plain PGD."""
    return case.pgd(case.pipeline("identity"))


def bpda_low(case: Case) -> Tensor:
    """PGD whose gradient of the defence is that of its low-pass filter, or of one of `USUAL_BAND`."""
    return _in_each_band(case, lambda part: part.pgd(part.pipeline("low")))


def exact(case: Case) -> Tensor:
    """PGD with the exact gradient of the defence."""
    return case.pgd(case.pipeline())


def auto(case: Case) -> Tensor:
    """AutoAttack with the best gradient there is."""
    settings = case.settings
    return attacks.auto_attack(
        case.pipeline(),
        case.images,
        case.labels,
        settings.epsilon,
        settings.auto_steps,
        settings.targets,
        settings.queries,
        case.seed,
    )


def each_dictionary(case: Case) -> Tensor:
    """Exact PGD as if dictionary k were chosen, for every k in turn, until the true choice is wrong."""
    assert case.row.purifier is not None
    purifier = case.row.purifier

    def attack(dictionary: int, part: Case) -> Tensor:
        row = fixed_dictionary_row(purifier, dictionary)
        fixed = replace(part, row=row, seed=part.seed + dictionary)
        return fixed.pgd(fixed.pipeline())

    return _in_turn(case, (partial(attack, number) for number in range(purifier.bank.dictionaries)))


def selector(case: Case) -> Tensor:
    """PGD on the choice of dictionary alone: toward the clusters of another class."""
    return case.pgd(_selector(case))


def joint(case: Case) -> Tensor:
    """Exact PGD on the classifier's cross-entropy and the choice's together."""
    whole, choice = case.pipeline(), _selector(case)
    settings = case.settings

    def both(logits: Tensor, labels: Tensor) -> Tensor:  # logits [batch, 2 classes]
        own, chosen = (cross_entropy(part, labels) for part in logits.chunk(2, 1))
        return own + SELECTOR_WEIGHT * chosen

    return attacks.pgd(
        lambda images: torch.cat([whole(images), choice(images)], 1),
        case.images,
        case.labels,
        settings.epsilon,
        settings.step,
        settings.adaptive_steps,
        seed=case.seed,
        objective=both,
    )


def in_the_low_band(case: Case) -> Tensor:
    """PGD whose change lies in the low band, which a purifier of the high band passes, or in a usual one."""
    settings = case.settings

    def attack(part: Case) -> Tensor:
        return attacks.pgd_low_band(
            part.pipeline(),
            part.images,
            part.labels,
            settings.epsilon,
            settings.step,
            settings.adaptive_steps,
            part.row.split_strength,
        )

    return _in_each_band(case, attack)


def square(case: Case) -> Tensor:
    """Square through the whole defence: logits, no gradients."""
    settings = case.settings
    return attacks.square(
        case.pipeline(), case.images, case.labels, settings.epsilon, settings.queries, case.seed
    )


def unbounded(case: Case) -> Tensor:
    """PGD with no bound but [0, 1], each image kept where it is first wrong: must break everything."""
    whole, current = case.pipeline(), case.images.clone()
    for _ in range(UNBOUNDED_STEPS):
        rows = is_right(whole, current, case.labels).nonzero()[:, 0]
        if not len(rows):
            break
        part, labels = whole.select(rows), case.labels[rows]
        current[rows] = attacks.pgd(
            part, current[rows], labels, 1.0, UNBOUNDED_STEP, 1, random_start=False, objective=margin
        )
    return current


def bands_of(row: Row) -> list[float]:
    """Strengths of the splits whose low bands are tried: the row's own and the usual one."""
    return list(dict.fromkeys((row.split_strength, USUAL_BAND)))


def _in_each_band(case: Case, attack: Callable[[Case], Tensor]) -> Tensor:
    """The attack with the row's split of each strength of `bands_of` in turn."""

    def within(strength: float, part: Case) -> Tensor:
        return attack(replace(part, row=replace(part.row, split_strength=strength)))

    return _in_turn(case, (partial(within, strength) for strength in bands_of(case.row)))


def _in_turn(case: Case, attempts: Iterable[Callable[[Case], Tensor]]) -> Tensor:
    """Each image under the first of these attacks that breaks it, else under the last."""
    found, whole = case.images.clone(), case.pipeline()
    standing = is_right(whole, found, case.labels)
    for attack in attempts:
        rows = standing.nonzero()[:, 0]
        if not len(rows):
            break
        found[rows] = attack(replace(case, images=case.images[rows], labels=case.labels[rows]))
        standing[rows] = is_right(whole.select(rows), found[rows], case.labels[rows])
    return found


def _selector(case: Case) -> Selector:
    assert case.row.purifier is not None
    purifier = case.row.purifier
    return Selector(purifier, max(len(purifier.bank.classes), int(case.labels.max()) + 1)).eval()


def _defends(row: Row) -> bool:
    return row.defend is not None


def _chooses(row: Row) -> bool:
    return row.purifier is not None and row.purifier.bank.clusters > 1


ADAPTIVE: dict[str, Adaptive] = {
    "bpda": Adaptive("BPDA", "PGD, the defence's gradient taken as the identity", bpda),
    "bpda_low": Adaptive(
        "BPDA, low-pass", "PGD, its gradient taken as that of a low-pass", bpda_low, _defends, of_band=True
    ),
    "exact": Adaptive("exact", "PGD, its gradient computed", exact, lambda row: row.exact is not None),
    "auto": Adaptive("AutoAttack", "APGD-CE, APGD-T, FAB-T and Square, best gradient there is", auto),
    "each_dictionary": Adaptive(
        "every dictionary", "exact PGD for each dictionary in turn", each_dictionary, _chooses
    ),
    "selector": Adaptive("selector", "PGD on the choice of dictionary alone", selector, _chooses),
    "joint": Adaptive("joint", "exact PGD on classifier and choice together", joint, _chooses),
    "low_band": Adaptive(
        "low band",
        "PGD, best gradient there is, whose change lies in the low band of the split or of strength 5",
        in_the_low_band,
        of_band=True,
    ),
    "square": Adaptive("Square", "random search", square, group="black box"),
    "unbounded": Adaptive(
        "unbounded", "a sanity check: PGD with no bound must reach 0", unbounded, counts=False
    ),
}
