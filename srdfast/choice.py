# SPDX-License-Identifier: Apache-2.0
"""Which dictionaries rebuild an image: one, or where the encoder is in doubt those of two classes.

A dictionary of the wrong class gives the image something of that class's look. Where another class is nearly
as likely as the likeliest, the mean of both results, weighted by how likely each is, keeps more of the truth.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_SHARE = 0.2  # of a second result that is worth its time
SHARE_STEPS = 1024  # shares are rounded to these, so that the last bits of a likelihood do not matter


@dataclass(frozen=True)
class Choice:
    """Of each image of a batch.

    Attributes:
        first: int64 [batch], the likeliest cluster.
        second: int64 [batch], the likeliest cluster of another class; None where nothing is mixed.
        share: of the result by the first, [batch] in [0.5, 1]; None where nothing is mixed.
    """

    first: Tensor
    second: Tensor | None = None
    share: Tensor | None = None


Rebuild = Callable[[Tensor, Tensor], Tensor]

Terms = tuple[Tensor, Tensor, Tensor, Tensor]
"""Of log-likelihoods as a square form: centre, and the factors of squares, of latents and of one; float64."""


def likelihood_terms(tables: tuple[Tensor, Tensor, Tensor, Tensor]) -> Terms:
    """The terms of clusters' centre, scales, shifts and offsets, as `GaussianTables` has them."""
    centre, scales, shifts, offsets = (part.double() for part in tables)
    return centre, -scales.square(), 2 * scales * shifts, offsets - shifts.square().sum(0)


def choose(latents: Tensor, first: Tensor, terms: Terms, labels: Tensor, temperature: float) -> Choice:
    """The choice for images whose likeliest cluster is known.

    The share of the first is 1 / (1 + exp(-gap / temperature)), where `gap` is what its log-likelihood is
    above that of the second; 1 where this leaves the second less than `LEAST_SHARE`, or there is no
    second class.

    Args:
        latents: floating [batch, latent].
        first: int64 [batch].
        terms: of the clusters' log-likelihoods.
        labels: int64 [clusters], the class of each.
        temperature: in nats, above 0.
    """
    centre, squares, slopes, constants = terms
    away = latents.double() - centre
    scores = constants + away.square() @ squares + away @ slopes  # [batch, clusters]
    others = scores.masked_fill(labels[first][:, None] == labels, -torch.inf)
    likelihood, second = others.max(1)
    gap = scores.gather(1, first[:, None])[:, 0] - likelihood
    share = (torch.sigmoid(gap / temperature) * SHARE_STEPS).round() / SHARE_STEPS
    share = torch.where(share > 1 - LEAST_SHARE, torch.ones_like(share), share).float()
    return Choice(first, second, share.clamp(min=0.5))


def mixed(rebuild: Rebuild, images: Tensor, choice: Choice, counted: bool) -> Tensor:
    """The result of each image's dictionaries.

    Args:
        rebuild: (images, clusters int64 [batch]) -> what these clusters' dictionaries make of them.
        images: floating [batch, channels, height, width].
        choice: of each.
        counted: whether the images in doubt are picked out, which waits for the device; else all are rebuilt
            twice.
    """
    result = rebuild(images, choice.first)
    if choice.second is None or choice.share is None:
        return result
    share = choice.share[:, None, None, None].to(result.dtype)
    if not counted:
        return rebuild(images, choice.second).lerp(result, share)
    rows = (choice.share < 1).nonzero()[:, 0]
    if len(rows) == 0:
        return result
    second = rebuild(images[rows], choice.second[rows])
    return result.index_copy(0, rows, second.lerp(result[rows], share[rows]))
