# SPDX-License-Identifier: Apache-2.0
"""Stage 1: train the baseline classifier, whose latents define the semantic clusters."""

from typing import Any

import numpy as np
import torch
from torch import nn

from ..data import Dataset
from ..networks import ResNet, save_network
from ..training import Schedule, fit, predictions
from .run import Config, Context, Stage


def settings(config: Config) -> dict[str, Any]:
    """What the baseline depends on."""
    return {
        "seed": config.seed,
        "validation": config.validation,
        "depth": config.depth,
        "width": config.width,
        "epochs": config.epochs,
        "batch": config.batch,
        "learning_rate": config.learning_rate,
        "weight_decay": config.weight_decay,
        "bf16": config.bf16,
    }


def accuracy(
    net: nn.Module, dataset: Dataset, rows: np.ndarray, device: torch.device, batch: int = 500
) -> float:
    """Share of `rows` that `net` labels rightly, in [0, 1]; 0 for no rows."""
    right = predictions(net, dataset.images[rows], device, batch) == dataset.labels[rows]
    return float(right.sum() / max(1, len(rows)))


def is_small(dataset: Dataset) -> bool:
    """Whether networks see its images at full resolution from their first layer on."""
    return max(dataset.images.shape[2:]) <= 64


def stem_for(dataset: Dataset) -> str:
    """The stem of a `ResNet` for images of that size."""
    return "small" if is_small(dataset) else "large"


def stem_stride(dataset: Dataset) -> int:
    """The stride of the first convolution of a network without shortcuts for images of that size."""
    return 1 if is_small(dataset) else 4


def inputs_of(dataset: Dataset) -> dict[str, Any]:
    """What a network must know of a dataset: its number of classes, its channels' moments in [0, 1]."""
    mean, std = dataset.moments
    return {"classes": len(dataset.classes), "mean": mean, "std": std}


def new_network(context: Context) -> ResNet:
    """The untrained baseline."""
    config = context.config
    torch.manual_seed(config.seed)
    return ResNet(config.depth, config.width, stem=stem_for(context.train), **inputs_of(context.train))


def run(context: Context) -> None:
    """Train on the training rows; write `model.safetensors`."""
    config, dataset = context.config, context.train
    rows, validation = context.split
    net = new_network(context)
    schedule = Schedule(
        epochs=config.epochs,
        batch=min(config.batch, len(rows)),
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        bf16=config.bf16,
        seed=config.seed,
    )
    history = fit(
        net,
        dataset,
        rows,
        schedule,
        checkpoint=context.checkpoint("baseline"),
        validate=lambda trained: {"validation": accuracy(trained, dataset, validation, context.device)},
        device=context.device,
        progress=context.progress,
        after_epoch=context.report_epoch("baseline", config.epochs),
    )
    save_network(context.path("baseline", "model.safetensors"), net.cpu(), {"history": history})


STAGE = Stage("baseline", needs=(), settings=settings, run=run)
