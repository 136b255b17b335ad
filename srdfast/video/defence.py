# SPDX-License-Identifier: Apache-2.0
"""Images as frames of video: what the evaluation's table shows of the purification of frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..planes import Levels, from_rgb, to_rgb

if TYPE_CHECKING:
    from ..rivals import Purify
    from .frames import FramePurifier

LEVELS = [Levels.of(8, False, chroma) for chroma in (False, True, True)]


def through_frames(purifier: FramePurifier | None) -> Purify:
    """Makes every image a frame of its own, 8-bit 4:2:0 in BT.709, purifies it, and makes it an image again.

    Args:
        purifier: of frames; it forgets each before it sees the next. None: only there and back.

    Returns:
        From float images [batch, 3, height, width], RGB in [0, 1], to such images, not differentiable.
    """

    def purify(images: Tensor) -> Tensor:
        purified = [image_of(_next(purifier, planes_of(image)), image.shape[1:]) for image in images.cpu()]
        return torch.stack(purified).to(images) if purified else images

    return purify


def planes_of(image: Tensor) -> tuple[np.ndarray, ...]:
    """Y, Cb, Cr of an image [3, height, width], RGB in [0, 1]; chroma averaged over 2 x 2 pixels."""
    luma, *chroma = from_rgb(*image.float()[:, None, None])  # [1, 1, height, width] each
    halves = [torch.nn.functional.avg_pool2d(plane, 2, ceil_mode=True) for plane in chroma]
    planes = zip(LEVELS, (luma, *halves), strict=True)
    codes = [
        (level.zero + level.span * values[0, 0]).round().clamp(0, level.most) for level, values in planes
    ]
    return tuple(plane.to(torch.uint8).numpy() for plane in codes)


def image_of(planes: tuple[np.ndarray, ...], size: torch.Size) -> Tensor:
    """The image [3, height, width] of planes as `planes_of` makes them; chroma is interpolated."""
    values = [
        (torch.from_numpy(plane).float()[None, None] - level.zero) / level.span
        for plane, level in zip(planes, LEVELS, strict=True)
    ]
    luma, *chroma = values
    full = [
        torch.nn.functional.interpolate(plane, scale_factor=2, mode="bilinear")[..., : size[0], : size[1]]
        for plane in chroma
    ]
    return torch.cat(to_rgb(luma, full[0], full[1]), 1)[0].clamp(0, 1)


def _next(purifier: FramePurifier | None, planes: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    if purifier is None:
        return planes
    purifier.reset()
    return purifier.purify(planes)
