# SPDX-License-Identifier: Apache-2.0
"""Targeted FAB (Croce and Hein 2020, arXiv 1907.02044): along the decision boundary, toward the image."""

import math

import torch
from torch import Tensor

from .base import Model, Seed, check, choose, evaluating, per_image, value_and_gradient

BACK = 0.9  # a point that crossed is drawn back to this share of its distance (their beta)
BEYOND = 1.05  # a projection is extended by this factor (their eta)
LARGEST_BIAS = 0.1  # toward the original image (their alpha_max)
BISECTIONS = 30  # of a projection: the threshold is exact to 2^-30


def fab_t(
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilon: float = 8 / 255,
    steps: int = 100,
    targets: int = 9,
    seed: Seed = 0,
) -> Tensor:
    """Fast adaptive boundary attack in L-infinity, target by target (arXiv 1907.02044, algorithm 1).

    Looks for the smallest change; one that is larger than `epsilon` does not count, and the image comes back
    as it is. Starts from the image, without restarts or final search.

    Args:
        model: images to logits.
        images: float [batch, channels, height, width] in [0, 1].
        labels: int64 [batch].
        epsilon: radius of the ball, in [0, 1].
        steps: number of steps a target.
        targets: how many classes are tried, those with the largest logits on the clean image.
        seed: nothing is drawn; accepted so that every attack is called alike.
    """
    check(images, labels, epsilon)
    found = images.detach().clone()
    with evaluating(model), torch.no_grad():
        logits = model(images)
        standing = logits.argmax(1) == labels
        order = logits.scatter(1, labels[:, None], -math.inf).argsort(1, descending=True)
        for rank in range(min(targets, logits.shape[1] - 1)):
            rows = standing.nonzero()[:, 0]
            if not len(rows):
                break
            part = choose(model, rows)
            nearest, length = _toward(part, images[rows], labels[rows], order[rows, rank], steps)
            hit = length <= epsilon
            found[rows[hit]], standing[rows[hit]] = nearest[hit], False
    return found


def _toward(
    model: Model, images: Tensor, labels: Tensor, target: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """The nearest misclassified point seen, and its L-infinity distance [batch] (infinity: none)."""

    def lead(logits: Tensor, _: Tensor) -> Tensor:
        return (logits.gather(1, target[:, None]) - logits.gather(1, labels[:, None]))[:, 0]

    current, nearest = images.detach(), images.detach()
    shortest = torch.full((len(images),), math.inf, dtype=images.dtype, device=images.device)
    for _ in range(steps):
        _, value, normal = value_and_gradient(model, current, labels, lead)
        offset = value - (normal * current).sum((1, 2, 3))  # the boundary: normal . x + offset = 0
        from_here = project_on_boundary(current, normal, offset) - current
        from_start = project_on_boundary(images, normal, offset) - images
        bias = _bias(from_here, from_start)
        point = (1 - bias) * (current + BEYOND * from_here) + bias * (images + BEYOND * from_start)
        point = point.clamp(0, 1)
        crossed = model(point).argmax(1) != labels
        length = (point - images).abs().amax((1, 2, 3))
        shorter = crossed & (length < shortest)
        nearest = torch.where(per_image(shorter), point, nearest)
        shortest = torch.where(shorter, length, shortest)
        current = torch.where(per_image(crossed), images + BACK * (point - images), point)
    return nearest, shortest


def _bias(from_here: Tensor, from_start: Tensor) -> Tensor:
    """How much the step leans on the original image, [batch, 1, 1, 1] in [0, LARGEST_BIAS]."""
    here, start = (change.abs().amax((1, 2, 3), keepdim=True) for change in (from_here, from_start))
    return (here / (here + start).clamp_min(1e-12)).clamp_max(LARGEST_BIAS)


def project_on_boundary(points: Tensor, normal: Tensor, offset: Tensor) -> Tensor:
    """The L-infinity nearest point of [0, 1] with normal . x + offset = 0, or as near as the box allows.

    Every pixel moves by the same amount against its share of the excess, as far as the box lets it; the
    amount is found by bisection, in which the excess is monotone.

    Args:
        points: [batch, channels, height, width] in [0, 1].
        normal: of the plane, of the same shape.
        offset: of the plane, [batch].
    """
    excess = (normal * points).sum((1, 2, 3)) + offset  # [batch]
    heading = -normal.sign() * per_image(excess.sign())
    low, high = torch.zeros_like(excess), torch.ones_like(excess)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        moved = (points + per_image(middle) * heading).clamp(0, 1)
        beyond = ((normal * moved).sum((1, 2, 3)) + offset) * excess.sign() <= 0
        low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
    return (points + per_image(high) * heading).clamp(0, 1)
