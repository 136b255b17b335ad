# SPDX-License-Identifier: Apache-2.0
"""Attacks within an L-infinity ball: FGSM, PGD and MI-FGSM.

Every attack takes float images [batch, channels, height, width] in [0, 1] and int64 labels [batch], and
returns images of the same shape and dtype in [0, 1], no pixel further than `epsilon` from its start. The
model is any callable from images to logits [batch, classes]; a module is attacked in eval mode, and its mode
and gradients are left as they were.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

Model = Callable[[torch.Tensor], torch.Tensor]
Attack = Callable[..., torch.Tensor]


def fgsm(
    model: Model,
    images: torch.Tensor,
    labels: torch.Tensor,
    epsilon: float = 8 / 255,
    step: float | None = None,
    random_start: bool = False,
    seed: int | torch.Generator = 0,
) -> torch.Tensor:
    """Fast gradient sign method (Goodfellow et al. 2015, arXiv 1412.6572, section 4).

    Args:
        model: images to logits.
        images: float [batch, channels, height, width] in [0, 1].
        labels: int64 [batch].
        epsilon: radius of the ball, in [0, 1].
        step: length of the step (default: epsilon).
        random_start: start at a uniform draw from the ball, as Wong et al. 2020 (arXiv 2001.03994) train.
        seed: of the random start, or a CPU generator to draw it from.
    """
    return pgd(model, images, labels, epsilon, epsilon if step is None else step, 1, random_start, seed)


def pgd(
    model: Model,
    images: torch.Tensor,
    labels: torch.Tensor,
    epsilon: float = 8 / 255,
    step: float = 2 / 255,
    steps: int = 10,
    random_start: bool = True,
    seed: int | torch.Generator = 0,
) -> torch.Tensor:
    """Projected gradient descent on the cross-entropy (Madry et al. 2018, arXiv 1706.06083, section 2.1).

    Args:
        model: images to logits.
        images: float [batch, channels, height, width] in [0, 1].
        labels: int64 [batch].
        epsilon: radius of the ball, in [0, 1].
        step: length of each step.
        steps: number of steps.
        random_start: start at a uniform draw from the ball rather than at its centre.
        seed: of the random start, or a CPU generator to draw it from.
    """
    _check(images, labels, epsilon)
    current = _random_start(images, epsilon, seed) if random_start else images.detach()
    with _evaluating(model):
        for _ in range(steps):
            direction = _gradient(model, current, labels).sign_()
            current = _project(current + step * direction, images, epsilon)
    return current


def mi_fgsm(
    model: Model,
    images: torch.Tensor,
    labels: torch.Tensor,
    epsilon: float = 8 / 255,
    steps: int = 10,
    decay: float = 1.0,
    step: float | None = None,
) -> torch.Tensor:
    """Momentum iterative FGSM (Dong et al. 2018, arXiv 1710.06081, algorithm 1).

    Args:
        model: images to logits.
        images: float [batch, channels, height, width] in [0, 1].
        labels: int64 [batch].
        epsilon: radius of the ball, in [0, 1].
        steps: number of steps.
        decay: share of the accumulated gradient that each step keeps.
        step: length of each step (default: epsilon / steps).
    """
    _check(images, labels, epsilon)
    step = epsilon / steps if step is None else step
    current, momentum = images.detach(), torch.zeros_like(images)
    with _evaluating(model):
        for _ in range(steps):
            gradient = _gradient(model, current, labels)
            norm = gradient.abs().sum((1, 2, 3), keepdim=True).clamp_min(torch.finfo(gradient.dtype).tiny)
            momentum = decay * momentum + gradient / norm
            current = _project(current + step * momentum.sign(), images, epsilon)
    return current


ATTACKS: dict[str, Attack] = {"fgsm": fgsm, "pgd": pgd, "mi_fgsm": mi_fgsm}


def attack_batches(
    attack: Attack,
    model: Model,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    batch: int = 256,
    progress: bool | None = None,
    description: str = "attack",
    **options: Any,
) -> torch.Tensor:
    """Attack many images, `batch` at a time, on the device of `images`.

    Args:
        attack: `fgsm`, `pgd`, `mi_fgsm` or any function called as they are.
        model: images to logits.
        images: float [n, channels, height, width] in [0, 1].
        labels: int64 [n].
        batch: images at a time.
        progress: show a bar on stderr; None shows it where stderr is a terminal.
        description: the bar's name.
        options: passed to the attack; a `seed` differs from batch to batch.
    """
    parts = []
    hidden = None if progress is None else not progress
    starts = range(0, len(images), batch)
    for start in tqdm(starts, desc=description, unit="batch", file=sys.stderr, disable=hidden, leave=False):
        chosen = slice(start, start + batch)
        if isinstance(options.get("seed"), int):
            parts.append(
                attack(model, images[chosen], labels[chosen], **{**options, "seed": options["seed"] + start})
            )
        else:
            parts.append(attack(model, images[chosen], labels[chosen], **options))
    return torch.cat(parts) if parts else images.clone()


def _check(images: torch.Tensor, labels: torch.Tensor, epsilon: float) -> None:
    if not isinstance(images, torch.Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, torch.Tensor) else type(images).__name__
        raise TypeError(f"images: expected a floating-point tensor with values in [0, 1], got {kind}")
    if images.ndim != 4:
        raise ValueError(
            f"images: expected [batch, channels, height, width], got shape {tuple(images.shape)}"
        )
    if labels.shape != images.shape[:1]:
        raise ValueError(f"labels: expected shape ({len(images)},), one an image, got {tuple(labels.shape)}")
    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon: expected a radius in [0, 1], such as 8/255, got {epsilon}")


def _random_start(images: torch.Tensor, epsilon: float, seed: int | torch.Generator) -> torch.Tensor:
    """A uniform draw from the ball; drawn on the CPU, so that it is the same on every device."""
    source = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    noise = torch.rand(images.shape, generator=source) * (2 * epsilon) - epsilon
    return _project(images + noise.to(images), images, epsilon)


def _gradient(model: Model, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Gradient of each image's own cross-entropy, of the images' shape."""
    with torch.enable_grad():
        images = images.detach().requires_grad_()
        loss = functional.cross_entropy(model(images).float(), labels, reduction="sum")
        return torch.autograd.grad(loss, images)[0]


def _project(current: torch.Tensor, images: torch.Tensor, epsilon: float) -> torch.Tensor:
    """The nearest point of the ball around `images` and of [0, 1]."""
    return torch.minimum(torch.maximum(current, images - epsilon), images + epsilon).clamp_(0, 1).detach()


@contextmanager
def _evaluating(model: Model) -> Iterator[None]:
    """Every module of `model` in eval mode; the modes come back at the end."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
