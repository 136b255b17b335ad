# SPDX-License-Identifier: Apache-2.0
"""Attacks on many images, a batch at a time, with a progress bar."""

import sys
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from .base import Attack, Model


def attack_batches(
    attack: Attack,
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    batch: int = 256,
    progress: bool | None = None,
    description: str = "attack",
    **options: Any,
) -> Tensor:
    """Attack many images, `batch` at a time, on the device of `images`.

    Args:
        attack: any function of `srdfast.attacks.ATTACKS`, or one called as they are.
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
