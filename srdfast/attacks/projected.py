# SPDX-License-Identifier: Apache-2.0
"""Projected gradient ascent: FGSM, and PGD in L-infinity and in L2."""

import torch
from torch import Tensor

from .balls import L2, LINF, Ball
from .base import Model, Objective, Seed, check, cross_entropy, evaluating, gradient_of


def fgsm(
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilon: float = 8 / 255,
    step: float | None = None,
    random_start: bool = False,
    seed: Seed = 0,
) -> Tensor:
    """Fast gradient sign method (Goodfellow et al. 2015, arXiv 1412.6572, section 4).

    Args:
        model: images to logits.
        images: float [batch, channels, height, width] in [0, 1].
        labels: int64 [batch].
        epsilon: radius of the L-infinity ball, in [0, 1].
        step: length of the step (default: epsilon).
        random_start: start at a uniform draw from the ball, as Wong et al. 2020 (arXiv 2001.03994) train.
        seed: of the random start, or a CPU generator to draw it from.
    """
    return pgd(model, images, labels, epsilon, epsilon if step is None else step, 1, random_start, seed)


def pgd(
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilon: float = 8 / 255,
    step: float = 2 / 255,
    steps: int = 10,
    random_start: bool = True,
    seed: Seed = 0,
    objective: Objective = cross_entropy,
) -> Tensor:
    """Projected gradient descent in L-infinity (Madry et al. 2018, arXiv 1706.06083, section 2.1).

    Args:
        model: images to logits.
        images: float [batch, channels, height, width] in [0, 1].
        labels: int64 [batch].
        epsilon: radius of the ball, in [0, 1].
        step: length of each step.
        steps: number of steps.
        random_start: start at a uniform draw from the ball rather than at its centre.
        seed: of the random start, or a CPU generator to draw it from.
        objective: what is made large, (logits, labels) -> [batch].
    """
    check(images, labels, epsilon)
    return _ascend(LINF, model, images, labels, epsilon, step, steps, random_start, seed, objective)


def pgd_l2(
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilon: float = 0.5,
    step: float | None = None,
    steps: int = 20,
    random_start: bool = True,
    seed: Seed = 0,
    objective: Objective = cross_entropy,
) -> Tensor:
    """`pgd` in L2, by steps along the normalised gradient.

    Args:
        model: images to logits.
        images: float [batch, channels, height, width] in [0, 1].
        labels: int64 [batch].
        epsilon: radius of the L2 ball.
        step: length of each step (default: 2.5 epsilon / steps).
        steps: number of steps.
        random_start: start at a uniform draw from the ball rather than at its centre.
        seed: of the random start, or a CPU generator to draw it from.
        objective: what is made large, (logits, labels) -> [batch].
    """
    check(images, labels, epsilon, "L2")
    step = 2.5 * epsilon / max(1, steps) if step is None else step
    return _ascend(L2, model, images, labels, epsilon, step, steps, random_start, seed, objective)


def _ascend(
    ball: Ball,
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    step: float,
    steps: int,
    random_start: bool,
    seed: Seed,
    objective: Objective,
) -> Tensor:
    current = ball.start(images, epsilon, seed) if random_start else images.detach()
    with evaluating(model), torch.no_grad():
        for _ in range(steps):
            direction = ball.steepest(gradient_of(model, current, labels, objective))
            current = ball.project(current + step * direction, images, epsilon)
    return current
