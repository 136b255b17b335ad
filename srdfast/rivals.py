# SPDX-License-Identifier: Apache-2.0
"""The purifiers that srdfast is measured against: JPEG, median, total variation, low band.

Each factory returns a function from images to images: float torch tensors [batch, 3, height, width]
in [0, 1], any device; the same shape, dtype and device come back. None of them is differentiable;
an adaptive attack takes their gradient as the identity (see `srdfast.evaluate`).

The first three are the classic input transformations of Guo, Rana, Cisse and van der Maaten,
"Countering Adversarial Images using Input Transformations" (ICLR 2018), and Xu, Evans and Qi,
"Feature Squeezing" (NDSS 2018).
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Purify = Callable[[Tensor], Tensor]


def jpeg(quality: int = 75) -> Purify:
    """Round to 8 bits, JPEG-compress and decompress every image (Pillow, its default subsampling).

    Args:
        quality: 1 (worst) to 95 (best).
    """
    if not 1 <= quality <= 95:
        raise ValueError(f"quality: expected 1 to 95, got {quality}")
    from PIL import Image

    def once(image: np.ndarray) -> np.ndarray:  # uint8 [height, width, 3]
        file = io.BytesIO()
        Image.fromarray(image).save(file, format="JPEG", quality=quality)
        return np.asarray(Image.open(file))

    def purify(images: np.ndarray) -> np.ndarray:
        pixels = np.rint(images * 255).astype(np.uint8).transpose(0, 2, 3, 1)  # [batch, height, width, 3]
        return np.stack([once(image) for image in pixels]).transpose(0, 3, 1, 2) / 255

    return on_numpy(purify)


def median(size: int = 3) -> Purify:
    """The median of the size x size window around every pixel, per channel, borders mirrored (SciPy).

    Args:
        size: the window's side in pixels, odd.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size: expected an odd number of pixels, got {size}")
    from scipy.ndimage import median_filter

    return on_numpy(lambda images: median_filter(images, size=(1, 1, size, size), mode="reflect"))


def total_variation(weight: float = 0.05) -> Purify:
    """Total-variation denoising of every channel: min over u of |grad u| + |u - x|^2 / (2 weight).

    Chambolle's algorithm ("An Algorithm for Total Variation Minimization and Applications", 2004),
    from scikit-image.

    Args:
        weight: the larger, the smoother; positive.
    """
    if weight <= 0:
        raise ValueError(f"weight: expected a positive number, got {weight}")
    from skimage.restoration import denoise_tv_chambolle

    def purify(images: np.ndarray) -> np.ndarray:
        planes = images.reshape(-1, *images.shape[2:])  # [batch * 3, height, width], each on its own
        return denoise_tv_chambolle(planes, weight=weight, channel_axis=0).reshape(images.shape)

    return on_numpy(purify)


def low_band(strength: float = 5.0) -> Purify:
    """The low band of `srdfast.split` alone: what is left when no dictionary restores the detail."""
    import srdfast

    return on_numpy(lambda images: srdfast.split(images, strength)[0])


def on_numpy(purify: Callable[[np.ndarray], np.ndarray]) -> Purify:
    """Lift a function of float32 arrays to tensors of any float dtype and device; clip to [0, 1]."""

    def lifted(images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(
                "images: expected a float tensor [batch, 3, height, width], "
                f"got {images.dtype} {list(images.shape)}"
            )
        if len(images) == 0:
            return images.clone()
        array = np.ascontiguousarray(images.detach().cpu().float().numpy())
        result = np.clip(purify(array), 0, 1)
        return torch.from_numpy(np.ascontiguousarray(result)).to(images)

    return lifted
