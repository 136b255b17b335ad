# SPDX-License-Identifier: Apache-2.0
"""Attacks made to transfer between networks: MI-FGSM and VMI-FGSM."""

import torch
from torch import Tensor

from .balls import project_linf
from .base import Model, Seed, check, evaluating, generator, gradient_of


def mi_fgsm(
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilon: float = 8 / 255,
    steps: int = 10,
    decay: float = 1.0,
    step: float | None = None,
    seed: Seed = 0,
) -> Tensor:
    """Momentum iterative FGSM (Dong et al. 2018, arXiv 1710.06081, algorithm 1).

    Args:
        model: images to logits.
        images: float [batch, channels, height, width] in [0, 1].
        labels: int64 [batch].
        epsilon: radius of the L-infinity ball, in [0, 1].
        steps: number of steps.
        decay: share of the accumulated gradient that each step keeps.
        step: length of each step (default: epsilon / steps).
        seed: nothing is drawn; accepted so that every attack is called alike.
    """
    return vmi_fgsm(model, images, labels, epsilon, steps, decay, step, neighbours=0, seed=seed)


def vmi_fgsm(
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilon: float = 8 / 255,
    steps: int = 10,
    decay: float = 1.0,
    step: float | None = None,
    neighbours: int = 20,
    reach: float = 1.5,
    seed: Seed = 0,
) -> Tensor:
    """MI-FGSM with variance tuning (Wang and He 2021, arXiv 2103.15571, algorithm 1).

    Each step adds to the gradient the variance of the step before: the mean gradient of random neighbours
    less the gradient there.

    Args:
        model: images to logits.
        images: float [batch, channels, height, width] in [0, 1].
        labels: int64 [batch].
        epsilon: radius of the L-infinity ball, in [0, 1].
        steps: number of steps.
        decay: share of the accumulated gradient that each step keeps.
        step: length of each step (default: epsilon / steps).
        neighbours: how many are drawn a step; 0: no variance, which is MI-FGSM.
        reach: neighbours are uniform within reach x epsilon.
        seed: of the neighbours, or a CPU generator to draw them from.
    """
    check(images, labels, epsilon)
    step = epsilon / steps if step is None else step
    source = generator(seed)
    current, momentum = images.detach(), torch.zeros_like(images)
    variance = torch.zeros_like(images)
    with evaluating(model), torch.no_grad():
        for _ in range(steps):
            gradient = gradient_of(model, current, labels)
            tuned = gradient + variance
            norm = tuned.abs().sum((1, 2, 3), keepdim=True).clamp_min(torch.finfo(gradient.dtype).tiny)
            momentum = decay * momentum + tuned / norm
            if neighbours:
                around = _mean_gradient(model, current, labels, reach * epsilon, neighbours, source)
                variance = around - gradient
            current = project_linf(current + step * momentum.sign(), images, epsilon)
    return current


def _mean_gradient(
    model: Model, images: Tensor, labels: Tensor, radius: float, count: int, source: torch.Generator
) -> Tensor:
    total = torch.zeros_like(images)
    for _ in range(count):
        noise = torch.rand(images.shape, generator=source) * (2 * radius) - radius
        total += gradient_of(model, images + noise.to(images), labels)
    return total / count
