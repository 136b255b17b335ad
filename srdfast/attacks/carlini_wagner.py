# SPDX-License-Identifier: Apache-2.0
"""The L2 attack of Carlini and Wagner (2017, arXiv 1608.04644, section V.A)."""

import math

import torch
from torch import Tensor

from .balls import project_l2
from .base import Model, Seed, check, evaluating, margin, per_image

EDGE = 1 - 1e-6  # of the open interval (-1, 1) that tanh reaches


def carlini_wagner(
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilon: float = math.inf,
    steps: int = 100,
    searches: int = 5,
    confidence: float = 0.0,
    learning_rate: float = 0.01,
    first_weight: float = 1e-2,
    seed: Seed = 0,
) -> Tensor:
    """The smallest L2 change for which another class leads by `confidence`, by Adam in tanh coordinates.

    min |x' - x|^2 + c max(0, confidence - margin(x')), with the weight c of each image found by bisection.

    Args:
        model: images to logits.
        images: float [batch, channels, height, width] in [0, 1].
        labels: int64 [batch].
        epsilon: L2 budget; a change that is larger is scaled back to it (default: no budget).
        steps: of Adam, for each weight.
        searches: weights tried for each image.
        confidence: by how much the logit of another class must lead.
        learning_rate: of Adam.
        first_weight: the first c; it grows tenfold until the attack succeeds.
        seed: nothing is drawn; accepted so that every attack is called alike.
    """
    check(images, labels, epsilon, "L2")
    weight = torch.full((len(images),), first_weight, dtype=images.dtype, device=images.device)
    low, high = torch.zeros_like(weight), torch.full_like(weight, math.inf)
    best, shortest = images.detach().clone(), torch.full_like(weight, math.inf)
    with evaluating(model):
        for _ in range(searches):
            found, length = _minimise(model, images, labels, weight, steps, confidence, learning_rate)
            hit = length < math.inf
            shorter = length < shortest
            best = torch.where(per_image(shorter), found, best)
            shortest = torch.where(shorter, length, shortest)
            high = torch.where(hit, torch.minimum(high, weight), high)
            low = torch.where(hit, low, torch.maximum(low, weight))
            weight = torch.where(high < math.inf, (low + high) / 2, weight * 10)
    return project_l2(best, images, epsilon)


def _minimise(
    model: Model,
    images: Tensor,
    labels: Tensor,
    weight: Tensor,
    steps: int,
    confidence: float,
    learning_rate: float,
) -> tuple[Tensor, Tensor]:
    """The shortest successful change on the way, and its squared length (infinity: none), [batch]."""
    best, shortest = images.detach().clone(), torch.full_like(weight, math.inf)
    with torch.enable_grad():
        free = torch.atanh((2 * images.detach() - 1) * EDGE).requires_grad_()
        optimizer = torch.optim.Adam([free], lr=learning_rate)
        for _ in range(steps):
            current = (torch.tanh(free) + 1) / 2
            ahead = margin(model(current).float(), labels)  # [batch]
            length = (current - images).square().sum((1, 2, 3))
            loss = (length + weight * (confidence - ahead).clamp_min(0)).sum()
            (free.grad,) = torch.autograd.grad(loss, free)
            better = (ahead.detach() > confidence) & (length.detach() < shortest)
            best = torch.where(per_image(better), current.detach(), best)
            shortest = torch.where(better, length.detach(), shortest)
            optimizer.step()
    return best, shortest
