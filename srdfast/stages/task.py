# SPDX-License-Identifier: Apache-2.0
"""The loss of the refinement: a classifier shall see in purified images what it sees in the clean ones."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..attacks import Model
from ..attacks.base import per_image
from ..training import Batch, Loss, Schedule
from .config import Config
from .pairs import Attacked, Choices


@dataclass(frozen=True)
class Terms:
    """What the loss of the refinement is made of.

    Attributes:
        pixel_weight: of the mean absolute difference of the pixels.
        label_weight: of the cross-entropy with the true label.
        clean_share: of a step's images, those that are not attacked.
        protected_share: of the steps, those whose logits are the protected classifier's.
    """

    pixel_weight: float = Config.refine_pixel_weight
    label_weight: float = Config.refine_label_weight
    clean_share: float = Config.refine_clean_share
    protected_share: float = Config.refine_protected_share

    @classmethod
    def of(cls, config: Config) -> "Terms":
        """As the settings of a run say."""
        return cls(**{term.name: getattr(config, f"refine_{term.name}") for term in fields(cls)})


def task_schedule(epochs: int, rate: float, seed: int, batch: int = 64, bf16: bool = True) -> Schedule:
    """How what purifies is trained by `task_loss`, the dictionaries and their rivals alike."""
    return Schedule(
        epochs,
        batch=batch,
        learning_rate=rate,
        weight_decay=0.0,
        optimizer="adam",
        warmup=0.1,
        bf16=bf16,
        augment=False,
        seed=seed,
    )


def task_loss(
    classifiers: Sequence[Model], attacked: Attacked, choices: Choices | None, terms: Terms
) -> Loss:
    """How far purified images are from the clean ones for one of `classifiers`, drawn for each step.

    The mean squared difference of the logits + pixel_weight x the mean absolute difference of the pixels +
    label_weight x the cross-entropy with the true label.

    Args:
        classifiers: images -> logits; the first is the protected one.
        attacked: the attacked versions of the images trained on.
        choices: the cluster that the module is told of each image; None: none.
        terms: of the loss.
    """

    def loss(module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        device = batch.images.device
        spared = (torch.rand(len(batch.rows), generator=batch.generator) < terms.clean_share).to(device)
        mirrored = (torch.rand(len(batch.rows), generator=batch.generator) < 0.5).to(device)
        others, version = attacked.drawn(batch.rows, batch.generator)
        noisy = torch.where(per_image(spared), batch.images, others)
        noisy, clean = (_mirror(images, mirrored) for images in (noisy, batch.images))
        clusters = choices.of(batch.rows, spared, version) if choices else None
        purified = module(noisy, clusters).float()
        classifier = classifiers[_listener(len(classifiers), terms.protected_share, batch.generator)]
        with torch.no_grad():
            wanted = classifier(clean).float()
        logits = classifier(purified).float()
        value = (logits - wanted).square().mean() + terms.pixel_weight * (purified - clean).abs().mean()
        if terms.label_weight:
            value = value + terms.label_weight * functional.cross_entropy(logits, batch.labels)
        return value, logits

    return loss


def _listener(count: int, share: float, source: torch.Generator) -> int:
    """0, the protected classifier, for a share of the draws, and each other number below `count` as often."""
    if count == 1 or torch.rand((), generator=source) < share:
        return 0
    return int(torch.randint(1, count, (), generator=source))


def _mirror(images: Tensor, mirrored: Tensor) -> Tensor:
    return torch.where(per_image(mirrored), images.flip(3), images).contiguous()
