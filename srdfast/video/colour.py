# SPDX-License-Identifier: Apache-2.0
"""RGB and its luma and chroma planes, without subsampling: of any matrix, full range unless told.

Full-range BT.709: Y = 0.2126 R + 0.7152 G + 0.0722 B, U = 128 + (B - Y) / 1.8556, V = 128 + (R - Y) / 1.5748,
each rounded to 8 bits. There and back changes a value by at most 2 of 255; by more in limited range, which
has fewer codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from .. import _core
from ..planes import Levels, from_rgb

Affine = tuple[list[list[float]], list[float]]  # weights [out, in] and offsets [out]


def rgb_to_planes(
    pixels: np.ndarray, order: str = "rgb", *, matrix: str = "bt709", full_range: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The planes of a picture.

    Args:
        pixels: uint8 [height, width, 3].
        order: "rgb" or "bgr".
        matrix: "bt601", "bt709" or "bt2020".
        full_range: whether planes use all codes, or 16 to 235 (chroma: 240).

    Returns:
        Y, U and V, uint8 [height, width].
    """
    height, width, _ = pixels.shape
    planes = tuple(np.empty((height, width), np.uint8) for _ in range(3))
    forward, _ = _maps(order, matrix, full_range)
    _core.pixels_to_planes(np.ascontiguousarray(pixels), *forward, planes)
    return planes[0], planes[1], planes[2]


def planes_to_rgb(
    planes: Sequence[np.ndarray], order: str = "rgb", *, matrix: str = "bt709", full_range: bool = True
) -> np.ndarray:
    """The picture of three planes, uint8 [height, width] each: uint8 [height, width, 3] in `order`."""
    pixels = np.empty((*planes[0].shape, 3), np.uint8)
    _, inverse = _maps(order, matrix, full_range)
    _core.planes_to_pixels([np.ascontiguousarray(plane) for plane in planes], *inverse, pixels)
    return pixels


@lru_cache
def _maps(order: str, matrix: str, full_range: bool) -> tuple[Affine, Affine]:
    """From pixels [channel] to planes [Y, U, V], and back."""
    channels = ["rgb".index(name) for name in order]
    levels = [Levels.of(8, full_range, chroma) for chroma in (False, True, True)]
    spans = np.array([level.span / 255 for level in levels])
    zeros = np.array([float(level.zero) for level in levels])
    red, green, blue = np.eye(3)
    weights = spans[:, None] * np.array(from_rgb(red, green, blue, matrix))[:, channels]
    back = np.linalg.inv(weights)
    return (weights.tolist(), zeros.tolist()), (back.tolist(), (-back @ zeros).tolist())
