# SPDX-License-Identifier: Apache-2.0
"""The images of a purification: checked tensors in, arrays of the caller's kind out."""

import math

import numpy as np
import torch
from torch import Tensor

from . import arrays
from .arrays import Array
from .bank import SRDBank
from .errors import DeviceError


def as_batch(images: Array, bank: SRDBank, device: torch.device) -> Tensor:
    """Images as a floating tensor [batch, channels, height, width] of what the bank purifies.

    Args:
        images: of any library; floating values in [0, 1], or uint8.
        bank: whose dictionaries they are for; of one channel, they also purify RGB.
        device: where the images must lie.

    Raises:
        TypeError, ValueError, DeviceError: they are not as described.
    """
    library = arrays.library_of("images", images)
    dtype = arrays.dtype_name(images)
    tensor = images if arrays.is_torch(images) else _as_tensor(images)
    if tensor.device != device:
        raise DeviceError(f"images: expected them on {device}, got {tensor.device}; use .to()")
    if dtype == "uint8":
        tensor = tensor.float() / 255
    elif not tensor.is_floating_point():
        got = f"{library.__name__} {dtype}"
        raise TypeError(f"images: expected floating values in [0, 1] or uint8, got {got}")
    channels = [bank.channels] if bank.channels > 1 else [1, 3]
    if tensor.ndim != 4 or tensor.shape[1] not in channels:
        wanted = " or ".join(map(str, channels))
        raise ValueError(f"images: expected [batch, {wanted}, height, width], got {list(tensor.shape)}")
    least = bank.patch if tensor.shape[1] == bank.channels else 2 * bank.patch
    if min(tensor.shape[2:]) < least:
        size = f"{tensor.shape[2]} x {tensor.shape[3]}"
        raise ValueError(f"images: expected at least {least} pixels a side, got {size}")
    if dtype != "uint8":
        _require_finite(tensor.detach())
    return tensor if dtype in ("float32", "float64", "uint8") else tensor.float()


def _require_finite(images: Tensor) -> None:
    """Raises ValueError for NaN and infinity; while a GPU's stream is captured, nobody can look."""
    place = arrays.place_of(torch, images.device)
    if place is not None and not arrays.may_look(place):
        return
    if math.isfinite(images.sum()):
        return
    finite = torch.isfinite(images).flatten(1).all(1)  # the sum of huge values is infinite too
    if not bool(finite.all()):
        first = int((~finite).nonzero()[0])
        raise ValueError(f"images: expected finite values, got NaN or infinity in image {first}")


def _as_tensor(images: Array) -> Tensor:
    """A numpy or cupy array as a tensor where it lies; copied only where torch could not hold it."""
    if isinstance(images, np.ndarray):
        plain = images.flags.writeable and min(images.strides, default=0) >= 0
        return torch.from_numpy(images if plain else images.copy())
    return torch.from_dlpack(images)


def like(purified: Tensor, images: Array) -> Array:
    """Purified images in the kind and dtype of the images that came in."""
    dtype = arrays.dtype_name(images)
    if dtype == "uint8":
        purified = (purified * 255).round().to(torch.uint8)
    elif arrays.is_torch(images):
        purified = purified.to(images.dtype)
    if arrays.is_torch(images):
        return purified
    return in_library_of(images, purified.detach()).astype(dtype, copy=False)


def in_library_of(images: Array, tensor: Tensor) -> Array:
    """A tensor as an array of the library of `images`, where it lies."""
    return arrays.library_of("images", images).from_dlpack(tensor)
