# SPDX-License-Identifier: Apache-2.0
"""Which dictionaries rebuild an image: its cluster's, and where the encoder is in doubt that of all images.

A dictionary of the wrong class gives the image something of that class's look. Where another class is nearly
as likely as the likeliest, the mean with what the dictionary of all images makes of it keeps more of the
truth.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_SHARE = 0.4  # of a second result that is worth its time
SHARE_STEPS = 1024  # shares are rounded to these, so that the last bits of a likelihood do not matter


@dataclass(frozen=True)
class Choice:
    """Of each image of a batch.

    Attributes:
        first: int64 [batch], the likeliest cluster.
        general: index of the dictionary of all images; None where nothing is mixed.
        share: of the result by the first, [batch] in [0, 1]; None where nothing is mixed.
    """

    first: Tensor
    general: int | None = None
    share: Tensor | None = None


Rebuild = Callable[[Tensor, Tensor], Tensor]  # images, dictionaries int64 [batch]

Terms = tuple[Tensor, Tensor, Tensor, Tensor]
"""Of log-likelihoods as a square form: centre, and the factors of squares, of latents and of one; float64."""


def likelihood_terms(tables: tuple[Tensor, Tensor, Tensor, Tensor]) -> Terms:
    """The terms of clusters' centre, scales, shifts and offsets, as `GaussianTables` has them."""
    centre, scales, shifts, offsets = (part.double() for part in tables)
    return centre, -scales.square(), 2 * scales * shifts, offsets - shifts.square().sum(0)


def choose(
    latents: Tensor, first: Tensor, terms: Terms, labels: Tensor, temperature: float, general: int
) -> Choice:
    """The choice for images whose likeliest cluster is known.

    With `gap`, what its log-likelihood is above that of the likeliest cluster of another class, this cluster
    and that one would have the odds exp(gap / temperature). The first's share of the result is by how much it
    is more likely than the other, tanh(gap / (2 temperature)); 1 where this leaves the dictionary of all
    images less than `LEAST_SHARE`, or there is no other class.

    Args:
        latents: floating [batch, latent].
        first: int64 [batch].
        terms: of the clusters' log-likelihoods.
        labels: int64 [clusters], the class of each.
        temperature: in nats, above 0.
        general: index of the dictionary of all images.
    """
    centre, squares, slopes, constants = terms
    away = latents.double() - centre
    scores = constants + away.square() @ squares + away @ slopes  # [batch, clusters]
    others = scores.masked_fill(labels[first][:, None] == labels, -torch.inf)
    gap = scores.gather(1, first[:, None])[:, 0] - others.amax(1)
    share = (torch.tanh(gap / (2 * temperature)) * SHARE_STEPS).round() / SHARE_STEPS
    share = torch.where(share > 1 - LEAST_SHARE, torch.ones_like(share), share).float()
    return Choice(first, general, share.clamp(min=0))


def mixed(rebuild: Rebuild, images: Tensor, choice: Choice, counted: bool) -> Tensor:
    """The result of each image's dictionaries.

    Args:
        rebuild: (images, dictionaries int64 [batch]) -> what these make of them.
        images: floating [batch, channels, height, width].
        choice: of each.
        counted: whether the images in doubt are picked out, which waits for the device; else all are rebuilt
            twice.
    """
    result = rebuild(images, choice.first)
    if choice.general is None or choice.share is None:
        return result
    general = torch.full_like(choice.first, choice.general)
    share = choice.share[:, None, None, None].to(result.dtype)
    if not counted:
        return rebuild(images, general).lerp(result, share)
    rows = (choice.share < 1).nonzero()[:, 0]
    if len(rows) == 0:
        return result
    second = rebuild(images[rows], general[rows])
    return result.index_copy(0, rows, second.lerp(result[rows], share[rows]))
