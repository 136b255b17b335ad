# SPDX-License-Identifier: Apache-2.0
"""PGD restricted to the low band, which a purifier of the high band passes on unchanged."""

import torch
from torch import Tensor

from .balls import project_linf
from .base import Model, Objective, Seed, check, cross_entropy, evaluating, gradient_of, per_image

AMPLITUDE = 4  # the source of the change may be so many epsilon high: the low-pass takes most of it away


def pgd_low_band(
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilon: float = 8 / 255,
    step: float = 2 / 255,
    steps: int = 20,
    strength: float = 5.0,
    seed: Seed = 0,
    objective: Objective = cross_entropy,
) -> Tensor:
    """PGD in L-infinity whose change is the low band of `srdfast.split`, scaled into the ball.

    The change is low(u); ascent moves u, and since the low-pass is its own adjoint, the gradient for u is
    the low band of the gradient. Clipping to [0, 1] alone puts anything into the high band.

    Args:
        model: images to logits.
        images: float [batch, channels, height, width] in [0, 1].
        labels: int64 [batch].
        epsilon: radius of the ball, in [0, 1].
        step: length of each step, as if there were no low-pass.
        steps: number of steps.
        strength: of the split.
        seed: nothing is drawn; accepted so that every attack is called alike.
        objective: what is made large, (logits, labels) -> [batch].
    """
    check(images, labels, epsilon)
    source, current = torch.zeros_like(images), images.detach()
    with evaluating(model), torch.no_grad():
        for _ in range(steps):
            gradient = gradient_of(model, current, labels, objective)
            source += AMPLITUDE * step * low_pass(gradient, strength).sign()
            source.clamp_(-AMPLITUDE * epsilon, AMPLITUDE * epsilon)
            change = low_pass(source, strength)
            highest = change.abs().amax((1, 2, 3)).clamp_min(1e-12)
            current = (images + change * per_image((epsilon / highest).clamp_max(1))).clamp(0, 1)
    return project_linf(current, images, epsilon)


def low_pass(images: Tensor, strength: float) -> Tensor:
    """The low band of any finite values [batch, channels, height, width]; no gradient flows."""
    from ..coding import split

    return split(images.detach().contiguous(), strength)[0]
