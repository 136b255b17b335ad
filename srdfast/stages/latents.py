# SPDX-License-Identifier: Apache-2.0
"""Stage 2: the baseline's latents of every training image."""

from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ..files import save_tensors
from ..networks import ResNet
from .run import Config, Context, Stage


def settings(config: Config) -> dict[str, Any]:
    """The latents follow from the baseline and the data alone."""
    return {}


def encode(
    net: ResNet, images: np.ndarray, device: torch.device, progress: bool | None = None, batch: int = 500
) -> np.ndarray:
    """Latents of images uint8 [n, channels, height, width], float32 [n, latent]."""
    latents = np.empty((len(images), net.latent), np.float32)
    hidden = None if progress is None else not progress
    with torch.no_grad():
        for start in tqdm(
            range(0, len(images), batch), desc="latents", unit="batch", disable=hidden, leave=False
        ):
            part = torch.from_numpy(images[start : start + batch]).to(device).float() / 255
            latents[start : start + batch] = net.latents(part).cpu().numpy()
    return latents


def run(context: Context) -> None:
    """Write `latents.safetensors`: latents float32 [n, latent], labels int64 [n]."""
    latents = encode(context.network("baseline"), context.train.images, context.device, context.progress)
    tensors = {"latents": latents, "labels": context.train.labels}
    save_tensors(context.path("latents", "latents.safetensors"), tensors, {"kind": "latents"})


STAGE = Stage("latents", needs=("baseline",), settings=settings, run=run)
