# SPDX-License-Identifier: Apache-2.0
"""The rows of the evaluation's table: srdfast, its rivals, and each as a module that can be attacked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .rivals import Purify, jpeg, low_band, median, total_variation

if TYPE_CHECKING:
    from .purifier import Purifier

SRDFAST = "srdfast"

Defend = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Row:
    """One line of the table: what is done to the images, and which network then sees them.

    Attributes:
        name: what the table calls it.
        defend: (images float [batch, 3, height, width] in [0, 1], labels int64 [batch]) -> images; only a
            row that is told the truth looks at the labels. None: the images go through unchanged.
        network: images -> logits; None: the protected classifier.
        exact: `defend` with its exact gradient, where it has one.
    """

    name: str
    defend: Defend | None = None
    network: nn.Module | None = None
    exact: Defend | None = None


def standard_rows(purifier: Purifier, one_dictionary: Purifier | None = None) -> list[Row]:
    """No defence, the rivals, srdfast, and the robust network that chooses srdfast's dictionaries.

    Args:
        purifier: under test; its encoder is the robust network, measured alone in the last row.
        one_dictionary: a purifier with a single dictionary for all images, to compare with.
    """
    rivals = {
        **{f"JPEG, quality {quality}": jpeg(quality) for quality in (75, 50, 25)},
        "median 3 x 3": median(3),
        **{f"total variation, {weight:g}": total_variation(weight) for weight in (0.05, 0.1)},
        "low band only": low_band(purifier.bank.split_strength),
    }
    rows = [Row("no defence")]
    rows += [image_row(name, rival) for name, rival in rivals.items()]
    if one_dictionary is not None:
        rows.append(purifier_row("srdfast, one dictionary", one_dictionary))
    rows.append(purifier_row(SRDFAST, purifier))
    rows.append(purifier_row("srdfast, told the true class", purifier, told=True))
    rows.append(Row("robust network alone", network=purifier.encoder))
    return rows


def image_row(name: str, purify: Purify) -> Row:
    """A row for any function from images to images."""
    return Row(name, lambda images, labels: purify(images))


def purifier_row(name: str, purifier: Purifier, told: bool = False) -> Row:
    """A row for a purifier, with its exact gradient; `told`: the dictionary is one of the true class's."""

    def defend(images: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            clusters = purifier.assign(images, labels if told else None)
        return purifier.purify(images, clusters=clusters)

    def exact(images: Tensor, labels: Tensor) -> Tensor:
        before, purifier.grad_mode = purifier.grad_mode, "exact"
        try:
            return defend(images, labels)
        finally:
            purifier.grad_mode = before

    return Row(name, defend, exact=exact)


class _IdentityBackward(torch.autograd.Function):
    """Forward: any function of the images. Backward: as if it had returned them unchanged."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        return function(images.detach())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class Pipeline(nn.Module):
    """One row as one module, images -> logits, that any attack can differentiate.

    Args:
        row: the defence.
        classifier: the protected network.
        labels: int64 [batch], the true classes of the images the module will see.
        exact: differentiate the purifier exactly; otherwise its gradient is the identity (BPDA).
    """

    def __init__(self, row: Row, classifier: nn.Module, labels: Tensor, exact: bool = False) -> None:
        super().__init__()
        self.network = row.network or classifier
        self.row, self.labels, self.exact = row, labels, exact

    def forward(self, images: Tensor) -> Tensor:
        """Logits [batch, classes] of images [batch, 3, height, width] in [0, 1]."""
        if self.row.defend is None:
            return self.network(images)
        if self.exact and self.row.exact is not None:
            return self.network(self.row.exact(images, self.labels))
        defend = self.row.defend
        return self.network(_IdentityBackward.apply(images, lambda view: defend(view, self.labels)))
