# SPDX-License-Identifier: Apache-2.0
"""DeepFool (Moosavi-Dezfooli et al. 2016, arXiv 1511.04599): the nearest boundary of the linearised model."""

import math

import torch
from torch import Tensor

from .balls import project_l2
from .base import Model, Seed, check, choose, evaluating, per_image


def deepfool(
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilon: float = math.inf,
    steps: int = 50,
    overshoot: float = 0.02,
    candidates: int = 10,
    seed: Seed = 0,
) -> Tensor:
    """DeepFool in L2 (arXiv 1511.04599, algorithm 2): small changes that cross the nearest boundary.

    On an affine classifier one step with no overshoot is the orthogonal projection on the nearest boundary.

    Args:
        model: images to logits.
        images: float [batch, channels, height, width] in [0, 1].
        labels: int64 [batch]; an image that is misclassified already comes back as it is.
        epsilon: L2 budget; a change that is larger is scaled back to it (default: no budget).
        steps: linearisations at most.
        overshoot: share by which the change goes beyond the boundary.
        candidates: classes considered, those with the largest logits on the clean image.
        seed: nothing is drawn; accepted so that every attack is called alike.
    """
    check(images, labels, epsilon, "L2")
    change = torch.zeros_like(images)
    with evaluating(model), torch.no_grad():
        logits = model(images)
        standing = logits.argmax(1) == labels
        order = logits.scatter(1, labels[:, None], -math.inf).argsort(1, descending=True)
        order = order[:, : min(candidates, logits.shape[1]) - 1]  # [batch, candidates - 1]
        for _ in range(steps):
            rows = standing.nonzero()[:, 0]
            if not len(rows):
                break
            part = choose(model, rows)
            crossing = (1 + overshoot) * change[rows]
            change[rows] += _to_boundary(part, images[rows] + crossing, labels[rows], order[rows])
            now = (images[rows] + (1 + overshoot) * change[rows]).clamp(0, 1)
            standing[rows] = part(now).argmax(1) == labels[rows]
    return project_l2(images + (1 + overshoot) * change, images, epsilon)


def _to_boundary(model: Model, images: Tensor, labels: Tensor, others: Tensor) -> Tensor:
    """The shortest step to the linearised boundary with any of the classes `others` [batch, k]."""
    with torch.enable_grad():
        images = images.detach().requires_grad_()
        logits = model(images)
        apart = logits.gather(1, others) - logits.gather(1, labels[:, None])  # [batch, k], below 0
        normals = [
            torch.autograd.grad(apart[:, k].sum(), images, retain_graph=k + 1 < apart.shape[1])[0]
            for k in range(apart.shape[1])
        ]
    normal = torch.stack(normals, 1)  # [batch, k, channels, height, width]
    length = normal.flatten(2).norm(dim=2).clamp_min(torch.finfo(images.dtype).tiny)  # [batch, k]
    distance = apart.detach().abs() / length
    nearest = distance.argmin(1)
    rows = torch.arange(len(images), device=images.device)
    scale = distance[rows, nearest] / length[rows, nearest]
    return per_image(scale) * normal[rows, nearest]
