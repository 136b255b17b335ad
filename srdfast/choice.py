# SPDX-License-Identifier: Apache-2.0
"""Which dictionaries rebuild an image: its cluster's, and where the encoder is in doubt that of all images.

A dictionary of the wrong class gives the image something of that class's look. Where another class is nearly
as likely as the likeliest, the mean with what the dictionary of all images makes of it keeps more of the
truth. An encoder that learned mirrored images may look at the mirror image first, and twice where it is in
doubt.
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
Look = Callable[[Tensor], Tensor]  # images -> latents, floating [batch, latent]
Likeliest = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Latents -> the likeliest clusters, int64 [batch], and log-likelihoods [batch] or [batch, clusters]."""
Rows = Tensor | slice
Tensors = tuple[Tensor, ...]

Terms = tuple[Tensor, Tensor, Tensor, Tensor]
"""Of log-likelihoods as a square form: centre, and the factors of squares, of latents and of one; float64."""


def likelihood_terms(tables: tuple[Tensor, Tensor, Tensor, Tensor]) -> Terms:
    """The terms of clusters' centre, scales, shifts and offsets, as `GaussianTables` has them."""
    centre, scales, shifts, offsets = (part.double() for part in tables)
    return centre, -scales.square(), 2 * scales * shifts, offsets - shifts.square().sum(0)


def log_likelihoods(terms: Terms, latents: Tensor) -> Tensor:
    """Log prior + log density of latents [batch, latent] in every cluster, float64 [batch, clusters]."""
    centre, squares, slopes, constants = terms
    away = latents.double() - centre
    return constants + away.square() @ squares + away @ slopes


@dataclass(frozen=True)
class Doubt:
    """When the dictionary of all images has a part, and how large a one.

    Attributes:
        terms: of the clusters' log-likelihoods.
        labels: int64 [clusters], the class of each.
        temperature: in nats, above 0.
        general: index of the dictionary of all images.
    """

    terms: Terms
    labels: Tensor
    temperature: float
    general: int

    def share(self, latents: Tensor, first: Tensor) -> Tensor:
        """The share of the likeliest cluster in the result, float32 [batch] in [0, 1]; below 1 is in doubt.

        With `gap`, what its log-likelihood is above that of the likeliest cluster of another class, this
        cluster and that one would have the odds exp(gap / temperature). The share is by how much it is more
        likely than the other, tanh(gap / (2 temperature)); 1 where this leaves the dictionary of all images
        less than `LEAST_SHARE`, or there is no other class.

        Args:
            latents: floating [batch, latent].
            first: int64 [batch], the likeliest cluster.
        """
        scores = log_likelihoods(self.terms, latents)
        others = scores.masked_fill(self.labels[first][:, None] == self.labels, -torch.inf)
        gap = scores.gather(1, first[:, None])[:, 0] - others.amax(1)
        share = (torch.tanh(gap / (2 * self.temperature)) * SHARE_STEPS).round() / SHARE_STEPS
        return torch.where(share > 1 - LEAST_SHARE, torch.ones_like(share), share).float().clamp(min=0)


def choose(
    images: Tensor, look: Look, likeliest: Likeliest, doubt: Doubt | None, mirror: bool, counted: bool
) -> tuple[Choice, Tensor]:
    """The choice for each image, and the log-likelihoods that `likeliest` tells of the latents that decide.

    Args:
        images: floating [batch, channels, height, width].
        look: the encoder.
        likeliest: the nearest cluster of its latents.
        doubt: None: the likeliest cluster alone rebuilds.
        mirror: whether the encoder looks at the mirror image, to which a perturbation carries over less.
            Images in doubt are then looked at as they are too, and the mean of both latents decides.
        counted: whether the images in doubt are picked out, which waits for the device.
    """
    latents = look(images.flip(-1) if mirror else images)
    first, likelihood = likeliest(latents)
    if doubt is None:
        return Choice(first), likelihood
    share = doubt.share(latents, first)
    if mirror:

        def again(rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
            both = (latents[rows] + look(images[rows])) / 2
            nearer, there = likeliest(both)
            return nearer, there, doubt.share(both, nearer)

        first, likelihood, share = _where(share < 1, again, (first, likelihood, share), counted)
    return Choice(first, doubt.general, share), likelihood


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

    def again(rows: Rows) -> tuple[Tensor]:
        return (rebuild(images[rows], general[rows]).lerp(result[rows], share[rows]),)

    return _where(choice.share < 1, again, (result,), counted)[0]


def _where(doubtful: Tensor, again: Callable[[Rows], Tensors], known: Tensors, counted: bool) -> Tensors:
    """What is known of each image, replaced by what a second time makes of those in doubt.

    Args:
        doubtful: bool [batch].
        again: (rows of the batch) -> the same of these.
        known: tensors [batch, ...].
        counted: whether `again` is for the doubtful alone; else for all.
    """
    if not counted:
        marks = [doubtful.view(-1, *[1] * (part.ndim - 1)) for part in known]
        return tuple(map(torch.where, marks, again(slice(None)), known))
    rows = doubtful.nonzero()[:, 0]
    if len(rows) == 0:
        return known
    return tuple(part.index_copy(0, rows, new) for part, new in zip(known, again(rows), strict=True))
