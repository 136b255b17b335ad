# SPDX-License-Identifier: Apache-2.0
"""The balls that attacks stay in: projection, random start and steepest step, in L-infinity and in L2."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Seed, generator, l2, per_image


@dataclass(frozen=True)
class Ball:
    """A norm's geometry; every function takes and returns images [batch, channels, height, width].

    Attributes:
        project: (current, images, epsilon) -> the point within `epsilon` of `images` and in [0, 1].
        start: (images, epsilon, seed) -> a random point of the ball.
        steepest: gradient -> the direction of norm 1 along which a linear function rises most.
    """

    project: Callable[[Tensor, Tensor, float], Tensor]
    start: Callable[[Tensor, float, Seed], Tensor]
    steepest: Callable[[Tensor], Tensor]


def project_linf(current: Tensor, images: Tensor, epsilon: float) -> Tensor:
    """The nearest point of the L-infinity ball around `images` and of [0, 1]."""
    return torch.minimum(torch.maximum(current, images - epsilon), images + epsilon).clamp_(0, 1).detach()


def project_l2(current: Tensor, images: Tensor, epsilon: float) -> Tensor:
    """Scaled back to the L2 ball around `images`, then clipped to [0, 1], which brings it no further away."""
    change = current - images
    return (images + change * per_image((epsilon / l2(change)).clamp_max(1))).clamp_(0, 1).detach()


def start_linf(images: Tensor, epsilon: float, seed: Seed) -> Tensor:
    """A uniform draw from the L-infinity ball."""
    noise = torch.rand(images.shape, generator=generator(seed)) * (2 * epsilon) - epsilon
    return project_linf(images + noise.to(images), images, epsilon)


def start_l2(images: Tensor, epsilon: float, seed: Seed) -> Tensor:
    """A uniform draw from the L2 ball: a uniform direction, at a radius whose power `pixels` is uniform."""
    source = generator(seed)
    direction = torch.randn(images.shape, generator=source)
    radius = epsilon * torch.rand(len(images), generator=source) ** (1 / max(1, images[0:1].numel()))
    return project_l2(images + (direction * per_image(radius / l2(direction))).to(images), images, epsilon)


LINF = Ball(project_linf, start_linf, lambda gradient: gradient.sign())
L2 = Ball(project_l2, start_l2, lambda gradient: gradient / per_image(l2(gradient)))
BALLS = {"Linf": LINF, "L2": L2}
