# SPDX-License-Identifier: Apache-2.0
"""Stage 2: the baseline's latents of every training image."""

from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ..data import Dataset
from ..files import save_tensors
from ..networks import ResNet
from .run import Config, Context, Stage


def settings(config: Config) -> dict[str, Any]:
    """The latents follow from the baseline and the data alone."""
    return {}


def encode(
    net: ResNet, dataset: Dataset, device: torch.device, progress: bool | None = None, batch: int = 500
) -> np.ndarray:
    """Latents of every image of `dataset`, float32 [images, latent]."""
    latents = np.empty((len(dataset), net.latent), np.float32)
    hidden = None if progress is None else not progress
    with torch.no_grad():
        for start in tqdm(
            range(0, len(dataset), batch), desc="latents", unit="batch", disable=hidden, leave=False
        ):
            images, _ = dataset.tensors(start, start + batch)
            latents[start : start + batch] = net.latents(images.to(device)).cpu().numpy()
    return latents


def run(context: Context) -> None:
    """Write `latents.safetensors`: latents float32 [n, latent], labels int64 [n]."""
    latents = encode(context.network("baseline"), context.train, context.device, context.progress)
    tensors = {"latents": latents, "labels": context.train.labels}
    save_tensors(context.path("latents", "latents.safetensors"), tensors, {"kind": "latents"})


STAGE = Stage("latents", needs=("baseline",), settings=settings, run=run)
