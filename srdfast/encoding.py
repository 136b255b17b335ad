# SPDX-License-Identifier: Apache-2.0
"""The encoder at work: the latents of images, and the clusters that they choose.

Where the processor multiplies tiles of bfloat16, most clusters are chosen by latents that took a third of
the time: those that the error of bfloat16 cannot change. The other images are encoded in float32.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .clusters import Floats, Gaussians
from .derived import Derived
from .folded import FoldedNetwork
from .nearest import NearestCluster
from .nearest_gpu import NearestOnGpu
from .networks import ResNet, tensors_of

IMAGES_TOGETHER = 128  # seen at once, so that the activations stay in the cache
IMAGES_TOGETHER_ON_GPU = 4096  # enough to fill one; bounds the memory of the activations
WORTH_SCREENING = 64  # images; screening fewer costs about what it saves

# How far rounding to bfloat16 may move the difference of two scores, as a share of
# sqrt(sum_i (z_i g_i)^2), where g is the gradient of the difference by the latent z: what independent errors
# of the z_i, in proportion to them, would do. The most seen on photographs, clean, noisy or attacked, is 0.1,
# on blurred or darkened ones 0.12, on images of one colour 0.15.
SCREENING_ERROR = 0.3
LEAST_SIZE = 0.05  # of a |z_i|, as a share of the usual one: errors near zero are not in proportion
SUMMING_ERROR = 1e-5  # of a float32 sum over the latent, as a share of it
SCREENED_TOGETHER = 1 << 20  # numbers of [images, clusters, latent], so that they stay in the cache


def has_bfloat16_tiles() -> bool:
    """Whether this processor multiplies tiles of bfloat16 (AMX), and torch knows how to make it."""
    supported = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return torch.backends.mkldnn.is_available() and bool(supported())


class Encoding:
    """Latents and clusters of images by one encoder. Threads may share it; copies of it go their own way.

    Args:
        gaussians: the clusters.
        lookup: engine of the nearest-cluster search; see `NearestCluster`.
        image_size: side in pixels of what the encoder sees; None: the images as they are.
        screening: whether `clusters` may choose by bfloat16 where that leaves no doubt; None: for
            `WORTH_SCREENING` images or more, on processors with tiles of bfloat16.
    """

    def __init__(
        self, gaussians: Gaussians, lookup: str, image_size: int | None, screening: bool | None
    ) -> None:
        self.nearest = NearestCluster(gaussians, lookup)
        self.screening, self._image_size = screening, image_size
        self._screen = _Screen(gaussians)
        self._fine: Derived[FoldedNetwork] = Derived()
        self._coarse: Derived[FoldedNetwork] = Derived()
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
        return self._latents(encoder, self._seen(encoder, images))

    @torch.no_grad()
    def likeliest(self, encoder: ResNet, images: Tensor) -> tuple[Tensor, Tensor]:
        """The most likely cluster of each image, int64 [batch], and its log-likelihood, float32 [batch]."""
        return self._lookup(self._latents(encoder, self._seen(encoder, images)))

    @torch.no_grad()
    def clusters(self, encoder: ResNet, images: Tensor) -> Tensor:
        """The most likely cluster of each image, int64 [batch]."""
        seen = self._seen(encoder, images)
        if not self._screens(seen):
            return self._lookup(self._latents(encoder, seen))[0]
        coarse = self._coarse.of("", tensors_of(encoder), lambda: self._folded(encoder).bfloat16())
        found = [self._screen(coarse.latents(some)) for some in seen.split(IMAGES_TOGETHER)]
        clusters, sure = (torch.cat(parts) for parts in zip(*found, strict=True))
        unsure = (~sure).nonzero()[:, 0]
        if len(unsure):
            clusters[unsure] = self._lookup(self._latents(encoder, seen[unsure]))[0]
        return clusters

    def _lookup(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Clusters and log-likelihoods of latents, on their device."""
        if latents.device.type == "cpu":
            clusters, likelihood = self.nearest(latents.numpy())
            return torch.from_numpy(clusters), torch.from_numpy(likelihood)
        on_gpu = self._on_gpu.get(latents.device)
        if on_gpu is None:
            on_gpu = self._on_gpu[latents.device] = NearestOnGpu(self.nearest, latents.device)
        return on_gpu(latents)

    def _screens(self, seen: Tensor) -> bool:
        if seen.dtype != torch.float32 or seen.device.type != "cpu":
            return False
        if self.screening is None:
            return len(seen) >= WORTH_SCREENING and has_bfloat16_tiles()
        return self.screening and len(seen) > 0

    def _seen(self, encoder: ResNet, images: Tensor) -> Tensor:
        return seen_by(encoder, images.detach(), self._image_size if len(images) else None)

    def _folded(self, encoder: ResNet) -> FoldedNetwork:
        return self._fine.of("", tensors_of(encoder), lambda: FoldedNetwork.of(encoder))

    def _latents(self, encoder: ResNet, seen: Tensor) -> Tensor:
        """Latents float32 [batch, latent], on the images' device."""
        if len(seen) == 0:
            return seen.new_empty((0, encoder.latent), dtype=torch.float32)
        fine = self._folded(encoder)
        together = IMAGES_TOGETHER if seen.device.type == "cpu" else IMAGES_TOGETHER_ON_GPU
        return torch.cat([fine.latents(some) for some in seen.split(together)]).float()


def seen_by(encoder: ResNet, images: Tensor, size: int | None) -> Tensor:
    """The images as the encoder wants them: its dtype, `size` pixels a side, the channels last."""
    seen = images.to(next(encoder.parameters()).dtype)
    if size is not None and tuple(seen.shape[2:]) != (size, size):
        seen = functional.interpolate(seen, (size, size), mode="bilinear", antialias=True)
    return seen.contiguous(memory_format=torch.channels_last)


class _Screen:
    """Chooses the clusters of coarse latents, and tells which choices their error cannot change."""

    def __init__(self, gaussians: Gaussians) -> None:
        means, variances = gaussians.means.astype(np.float64), gaussians.variances.astype(np.float64)
        offsets = gaussians.log_priors - 0.5 * np.log(variances).sum(1)
        typical = np.exp(gaussians.log_priors.astype(np.float64)) @ np.abs(means)
        self._means, self._precisions, self._offsets, self._least = (
            torch.from_numpy(array.astype(np.float32))
            for array in (means, 1 / variances, offsets, LEAST_SIZE * typical)
        )  # [clusters, latent], [clusters, latent], [clusters], [latent]
        self._together = max(1, SCREENED_TOGETHER // means.size)

    def __call__(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """The best cluster of latents [n, latent], int64 [n], and whether it is sure, bool [n]."""
        found = [self._choose(some) for some in latents.split(self._together)]
        best, sure = zip(*found, strict=True)
        return torch.cat(best), torch.cat(sure)

    def _choose(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        away = latents[:, None] - self._means  # [n, clusters, latent]
        slopes = away * self._precisions  # minus the gradients of the scores
        distances = 0.5 * (slopes * away).sum(2)  # [n, clusters]
        scores = self._offsets - distances
        best = scores.argmax(1)
        rows = torch.arange(len(best))
        moved = (slopes - slopes[rows, best, None]).mul_((latents.abs() + self._least)[:, None]).norm(dim=2)
        summed = distances + self._offsets.abs()
        error = SCREENING_ERROR * moved + SUMMING_ERROR * (summed + summed[rows, best, None])
        sure = scores[rows, best, None] - scores > error
        sure[rows, best] = True
        return best, sure.all(1)
