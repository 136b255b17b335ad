# SPDX-License-Identifier: Apache-2.0
"""The encoder at work: the latents of images, and the clusters that they choose."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from . import _core
from .clusters import Floats, Gaussians
from .derived import Derived
from .folded import FoldedNetwork
from .nearest import NearestCluster
from .nearest_gpu import NearestOnGpu
from .networks import ResNet, tensors_of

# Images that torch sees at once: their activations stay in the CPU's cache; they fill a GPU.
IMAGES_TOGETHER = {"cpu": 128, "cuda": 4096}


class Encoding:
    """Latents and clusters of images by one encoder. Threads may share it; copies of it go their own way.

    Float32 on the CPU is computed by the operator `encode`, all else by torch.

    Args:
        gaussians: the clusters.
        lookup: engine of the nearest-cluster search; see `NearestCluster`.
        image_size: side in pixels of what the encoder sees; None: the images as they are.
    """

    def __init__(self, gaussians: Gaussians, lookup: str, image_size: int | None) -> None:
        self.nearest = NearestCluster(gaussians, lookup)
        self._image_size = image_size
        self._folded: Derived[FoldedNetwork] = Derived()
        self._packed: Derived[_core.PackedNetwork] = Derived()
        self._on_gpu: dict[torch.device, NearestOnGpu] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_on_gpu": {}}  # a copy makes its own

    @torch.no_grad()
    def latents(self, encoder: ResNet, images: Tensor) -> Floats:
        """Latents float32 [batch, latent] of floating images [batch, channels, height, width] in [0, 1]."""
        return self.tensors(encoder, images).cpu().numpy()

    @torch.no_grad()
    def tensors(self, encoder: ResNet, images: Tensor) -> Tensor:
        """The same as a tensor where the images lie."""
        seen = seen_by(encoder, images.detach(), self._image_size if len(images) else None)
        if len(seen) == 0:
            return seen.new_empty((0, encoder.latent), dtype=torch.float32)
        if seen.device.type == "cpu" and seen.dtype == torch.float32:
            return self._encoded(encoder, seen.contiguous())
        folded = self._folded.of("", tensors_of(encoder), lambda: FoldedNetwork.of(encoder))
        seen = seen.contiguous(memory_format=torch.channels_last)
        together = IMAGES_TOGETHER.get(seen.device.type, len(seen))
        return torch.cat([folded.latents(some) for some in seen.split(together)]).float()

    def likeliest(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """The most likely cluster of each latent, int64 [batch], and its log-likelihood, float32 [batch]."""
        if latents.device.type == "cpu":
            clusters, likelihood = self.nearest(latents.numpy())
            return torch.from_numpy(clusters), torch.from_numpy(likelihood)
        on_gpu = self._on_gpu.get(latents.device)
        if on_gpu is None:
            on_gpu = self._on_gpu[latents.device] = NearestOnGpu(self.nearest, latents.device)
        return on_gpu(latents)

    def _encoded(self, encoder: ResNet, seen: Tensor) -> Tensor:
        packed = self._packed.of("", tensors_of(encoder), lambda: FoldedNetwork.of(encoder).packed())
        latents = torch.empty(len(seen), encoder.latent)
        _core.encode(seen, packed, latents)
        return latents


def seen_by(encoder: ResNet, images: Tensor, size: int | None) -> Tensor:
    """The images as the encoder wants them: its dtype and channels, which grey ones repeat, `size` a side."""
    channels = len(encoder.spec["mean"])
    seen = images.to(next(encoder.parameters()).dtype)
    seen = seen.expand(-1, channels, -1, -1) if seen.shape[1] == 1 else seen
    if size is not None and tuple(seen.shape[2:]) != (size, size):
        seen = functional.interpolate(seen, (size, size), mode="bilinear", antialias=True)
    return seen
