# SPDX-License-Identifier: Apache-2.0
"""Square attack (Andriushchenko et al. 2020, arXiv 1912.00049): random search that sees logits only."""

import math

import torch
from torch import Tensor

from .balls import project_linf
from .base import Model, Seed, check, choose, evaluating, generator, margin

SHARE = 0.8  # of the pixels that the first squares cover
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # queries of 10,000 at which the share halves


def square(
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilon: float = 8 / 255,
    queries: int = 5000,
    seed: Seed = 0,
) -> Tensor:
    """Square attack in L-infinity on the margin of the logits (arXiv 1912.00049, algorithms 1 and 2).

    Starts from vertical stripes; then proposes squares of a constant change at random places, and keeps what
    makes the margin smaller. An image that is misclassified is left alone.

    Args:
        model: images to logits; no gradient is taken.
        images: float [batch, channels, height, width] in [0, 1].
        labels: int64 [batch].
        epsilon: radius of the ball, in [0, 1].
        queries: calls of the model an image, at least 1.
        seed: of the search, or a CPU generator to draw from.
    """
    check(images, labels, epsilon)
    source = generator(seed)
    channels, height, width = images.shape[1:]
    with evaluating(model), torch.no_grad():
        stripes = _signs((len(images), channels, 1, width), source).to(images)
        best = project_linf(images + epsilon * stripes, images, epsilon)
        value = margin(model(best), labels)  # [batch], positive: misclassified
        for query in range(1, queries):
            rows = (value <= 0).nonzero()[:, 0]
            if not len(rows):
                break
            side = _side(query, queries, height, width)
            proposal = _paint(best[rows], images[rows], epsilon, side, source)
            score = margin(choose(model, rows)(proposal), labels[rows])
            better = score > value[rows]
            best[rows[better]], value[rows[better]] = proposal[better], score[better]
    return best


def _side(query: int, queries: int, height: int, width: int) -> int:
    """Side of the square at a query: its share of the pixels halves along the published schedule."""
    halvings = sum(query * 10_000 / queries > at for at in HALVINGS)
    side = round(math.sqrt(SHARE / 2**halvings * height * width))
    return min(max(side, 1), height - 1 or 1, width - 1 or 1)


def _paint(best: Tensor, images: Tensor, epsilon: float, side: int, source: torch.Generator) -> Tensor:
    """One square of one change a channel, +epsilon or -epsilon, somewhere in each image."""
    count, channels, height, width = best.shape
    top = torch.randint(0, height - side + 1, (count, 1), generator=source)
    left = torch.randint(0, width - side + 1, (count, 1), generator=source)
    rows, columns = torch.arange(height), torch.arange(width)
    inside_rows = (rows >= top) & (rows < top + side)  # [count, height]
    inside_columns = (columns >= left) & (columns < left + side)  # [count, width]
    inside = (inside_rows[:, None, :, None] & inside_columns[:, None, None, :]).to(best.device)
    colour = _signs((count, channels, 1, 1), source).to(best)
    painted = torch.where(inside, images + epsilon * colour, best)
    return project_linf(painted, images, epsilon)


def _signs(shape: tuple[int, ...], source: torch.Generator) -> Tensor:
    return torch.randint(0, 2, shape, generator=source) * 2 - 1
