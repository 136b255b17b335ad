# SPDX-License-Identifier: Apache-2.0
"""What every attack shares: the kind of its arguments, their check, gradients, and a model left as it was.

An attack is a function `attack(model, images, labels, epsilon, ..., seed)`:

- model: any callable from images to logits [batch, classes]; a module is attacked in eval mode, and its mode
  and gradients are left as they were;
- images: float [batch, channels, height, width] in [0, 1]; labels: int64 [batch];
- epsilon: the budget, in the attack's norm, of one image's change;
- seed: a number, or a CPU generator to draw from; draws are made on the CPU, the same for every device.

It returns images of the same shape and dtype, in [0, 1] and within the budget.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

Model = Callable[[Tensor], Tensor]
Attack = Callable[..., Tensor]
Objective = Callable[[Tensor, Tensor], Tensor]
"""(logits [batch, classes], labels [batch]) -> what the attacker wants to be large, [batch]."""
Seed = int | torch.Generator


def check(images: Tensor, labels: Tensor, epsilon: float, norm: str = "Linf") -> None:
    """Raises TypeError or ValueError, naming the argument, unless an attack can start from these."""
    if not isinstance(images, Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"images: expected a floating-point tensor with values in [0, 1], got {kind}")
    if images.ndim != 4:
        raise ValueError(
            f"images: expected [batch, channels, height, width], got shape {tuple(images.shape)}"
        )
    if labels.shape != images.shape[:1]:
        raise ValueError(f"labels: expected shape ({len(images)},), one an image, got {tuple(labels.shape)}")
    if norm == "Linf" and not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon: expected a radius in [0, 1], such as 8/255, got {epsilon}")
    if norm == "L2" and not 0 <= epsilon <= math.inf:
        raise ValueError(f"epsilon: expected an L2 radius of 0 or more, such as 0.5, got {epsilon}")


def generator(seed: Seed) -> torch.Generator:
    """A CPU generator: the one given, or a new one seeded by a number."""
    return seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of every image, [batch]."""
    return functional.cross_entropy(logits.float(), labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Largest other logit - the true one's, [batch]: positive where the model is wrong."""
    own = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -math.inf)
    return others.max(1).values - own


def value_and_gradient(
    model: Model, images: Tensor, labels: Tensor, objective: Objective = cross_entropy
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, the objective of each image [batch], and its gradient of the images' shape."""
    with torch.enable_grad():
        images = images.detach().requires_grad_()
        logits = model(images)
        value = objective(logits, labels)
        gradient = torch.autograd.grad(value.sum(), images)[0]
    return logits.detach(), value.detach(), gradient


def gradient_of(model: Model, images: Tensor, labels: Tensor, objective: Objective = cross_entropy) -> Tensor:
    """Gradient of each image's own objective, of the images' shape."""
    return value_and_gradient(model, images, labels, objective)[2]


@torch.no_grad()
def is_right(model: Model, images: Tensor, labels: Tensor) -> Tensor:
    """Whether the model classifies each image correctly, bool [batch]."""
    return model(images).argmax(1) == labels


def per_image(values: Tensor) -> Tensor:
    """Values [batch] that broadcast against images [batch, channels, height, width]."""
    return values[:, None, None, None]


def l2(difference: Tensor) -> Tensor:
    """L2 norm of each image's change, [batch]; never zero, so that it can divide."""
    return difference.flatten(1).norm(dim=1).clamp_min(torch.finfo(difference.dtype).tiny)


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
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


def choose(model: Model, rows: Tensor) -> Model:
    """The model as it must be called with only the images `rows` (int64 [n]) of its batch.

    A model that carries something for each image of its batch (as `srdfast.defences.Pipeline` carries labels)
    says by a method `select(rows)` what becomes of it; any other model is returned as it is.
    """
    select = getattr(model, "select", None)
    return model if select is None else select(rows)
