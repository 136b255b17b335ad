# SPDX-License-Identifier: Apache-2.0
"""Common corruptions of 32 x 32 images, with the severities of CIFAR-10-C.

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations"
(ICLR 2019, arXiv 1903.12261); the constants are those of the authors' program for CIFAR-10-C. Eight of its
corruptions are here: those that need no picture, no ImageMagick and no OpenCV. Unlike the published files the
results stay in floating point, but for JPEG and pixelation. An attacker has no part in them: a corruption
is a function of images, severity and seed.
"""

import io
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .base import Seed, generator

SEVERITIES = (1, 2, 3, 4, 5)


def gaussian_noise(images: Tensor, severity: int = 3, seed: Seed = 0) -> Tensor:
    """Adds normal noise, independent for every value."""
    deviation = (0.04, 0.06, 0.08, 0.09, 0.10)[_index(severity)]
    noise = torch.randn(images.shape, generator=generator(seed)).to(images)
    return (images + deviation * noise).clamp(0, 1)


def shot_noise(images: Tensor, severity: int = 3, seed: Seed = 0) -> Tensor:
    """Poisson noise of so many photons for white."""
    photons = (500, 250, 100, 75, 50)[_index(severity)]
    counts = torch.poisson(images.detach().cpu().float() * photons, generator=generator(seed))
    return (counts / photons).clamp(0, 1).to(images)


def impulse_noise(images: Tensor, severity: int = 3, seed: Seed = 0) -> Tensor:
    """Salt and pepper: a share of the values becomes 0 or 1, each as likely."""
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[_index(severity)]
    draw = torch.rand(images.shape, generator=generator(seed)).to(images)
    return torch.where(draw < share / 2, 0.0, torch.where(draw < share, 1.0, images))


def defocus_blur(images: Tensor, severity: int = 3, seed: Seed = 0) -> Tensor:
    """Convolution with a disk whose edge is smoothed, borders mirrored without repetition."""
    radius, smoothing = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))[_index(severity)]
    kernel = torch.from_numpy(_disk(radius, smoothing)).to(images)  # [side, side]
    margin = kernel.shape[0] // 2
    planes = functional.pad(images.flatten(0, 1)[:, None], (margin,) * 4, mode="reflect")
    return functional.conv2d(planes, kernel[None, None]).view(images.shape).clamp(0, 1)


def brightness(images: Tensor, severity: int = 3, seed: Seed = 0) -> Tensor:
    """Raises the value of hue, saturation and value; the other two stay."""
    rise = (0.05, 0.1, 0.15, 0.2, 0.3)[_index(severity)]
    value = images.amax(1, keepdim=True)
    raised = (value + rise).clamp(0, 1)
    return torch.where(value > 0, images * raised / value.clamp_min(1e-12), raised)


def contrast(images: Tensor, severity: int = 3, seed: Seed = 0) -> Tensor:
    """Shrinks every channel toward its mean."""
    share = (0.75, 0.5, 0.4, 0.3, 0.15)[_index(severity)]
    mean = images.mean((2, 3), keepdim=True)
    return ((images - mean) * share + mean).clamp(0, 1)


def pixelate(images: Tensor, severity: int = 3, seed: Seed = 0) -> Tensor:
    """Reduces the image and enlarges it again, both by boxes (Pillow)."""
    share = (0.95, 0.9, 0.85, 0.75, 0.65)[_index(severity)]
    from PIL import Image

    def once(pixels: np.ndarray) -> np.ndarray:  # uint8 [height, width, 3]
        size = pixels.shape[1], pixels.shape[0]
        small = Image.fromarray(pixels).resize(
            (int(size[0] * share), int(size[1] * share)), Image.Resampling.BOX
        )
        return np.asarray(small.resize(size, Image.Resampling.BOX))

    return _on_pixels(once, images)


def jpeg_compression(images: Tensor, severity: int = 3, seed: Seed = 0) -> Tensor:
    """JPEG, compressed and decompressed (Pillow)."""
    quality = (80, 65, 58, 50, 40)[_index(severity)]
    from PIL import Image

    def once(pixels: np.ndarray) -> np.ndarray:  # uint8 [height, width, 3]
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    return _on_pixels(once, images)


CORRUPTIONS: dict[str, Callable[..., Tensor]] = {
    corruption.__name__: corruption
    for corruption in (
        gaussian_noise,
        shot_noise,
        impulse_noise,
        defocus_blur,
        brightness,
        contrast,
        pixelate,
        jpeg_compression,
    )
}
"""By name; (images float [batch, 3, height, width] in [0, 1], severity 1 to 5, seed) -> images."""


def _index(severity: int) -> int:
    if severity not in SEVERITIES:
        raise ValueError(f"severity: expected 1 to 5, got {severity!r}")
    return severity - 1


def _disk(radius: float, smoothing: float) -> np.ndarray:
    """A disk of sum 1, then smoothed by a Gaussian of 3 x 3 entries; [side, side], odd."""
    reach = int(radius) + 1
    places = np.arange(-reach, reach + 1)
    disk = (places[:, None] ** 2 + places**2 <= radius**2).astype(np.float64)
    disk /= disk.sum()
    bell = np.exp(-np.array([1.0, 0.0, 1.0]) / (2 * smoothing**2))
    bell /= bell.sum()
    for axis in (0, 1):
        disk = np.apply_along_axis(np.convolve, axis, disk, bell, mode="same")
    return disk


def _on_pixels(once: Callable[[np.ndarray], np.ndarray], images: Tensor) -> Tensor:
    """Applies a function of one uint8 [height, width, 3] to every image."""
    pixels = (images.detach().cpu().float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    changed = np.stack([once(np.ascontiguousarray(image)) for image in pixels]) if len(pixels) else pixels
    return torch.from_numpy(changed.copy()).permute(0, 3, 1, 2).to(images) / 255
