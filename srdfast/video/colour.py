# SPDX-License-Identifier: Apache-2.0
"""RGB and its luma and chroma planes: full range, the matrix of ITU-R BT.709, no subsampling.

Y = 0.2126 R + 0.7152 G + 0.0722 B, U = 128 + (B - Y) / 1.8556, V = 128 + (R - Y) / 1.5748, each rounded to 8
bits. There and back changes a value by at most 2 of 255.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

FORWARD = np.array(
    [
        [0.2126, 0.7152, 0.0722],
        [-0.2126 / 1.8556, -0.7152 / 1.8556, 0.9278 / 1.8556],
        [0.7874 / 1.5748, -0.7152 / 1.5748, -0.0722 / 1.5748],
    ]
)  # [YUV, RGB]
INVERSE = np.linalg.inv(FORWARD)  # [RGB, YUV]
BLOCK = 1 << 16  # pixels converted at a time: they stay in the cache


def rgb_to_planes(pixels: np.ndarray, order: str = "rgb") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The planes of a picture.

    Args:
        pixels: uint8 [height, width, 3].
        order: "rgb" or "bgr".

    Returns:
        Y, U and V, uint8 [height, width].
    """
    height, width, _ = pixels.shape
    channels = [order.index(name) for name in "rgb"]
    planes = tuple(np.empty((height, width), np.uint8) for _ in range(3))
    for rows in _blocks(height, width):
        values = [pixels[rows, :, channel].astype(np.float32) for channel in channels]
        for plane, weights, centre in zip(planes, FORWARD, (0, 128, 128), strict=True):
            plane[rows] = _combine(values, weights, centre)
    return planes[0], planes[1], planes[2]


def planes_to_rgb(planes: Sequence[np.ndarray], order: str = "rgb") -> np.ndarray:
    """The picture of three planes, uint8 [height, width] each: uint8 [height, width, 3] in `order`."""
    height, width = planes[0].shape
    pixels = np.empty((height, width, 3), np.uint8)
    for rows in _blocks(height, width):
        values = [plane[rows].astype(np.float32) for plane in planes]
        for chroma in values[1:]:
            chroma -= 128
        for name, weights in zip("rgb", INVERSE, strict=True):
            pixels[rows, :, order.index(name)] = _combine(values, weights, 0)
    return pixels


def _blocks(height: int, width: int) -> Iterator[slice]:
    rows = max(1, BLOCK // max(width, 1))
    return (slice(start, start + rows) for start in range(0, height, rows))


def _combine(values: Sequence[np.ndarray], weights: np.ndarray, centre: float) -> np.ndarray:
    """Weighted sum of three arrays, rounded into 0..255; a matrix product would sum in an order of BLAS's."""
    total = np.float32(weights[0]) * values[0]
    total += np.float32(weights[1]) * values[1]
    total += np.float32(weights[2]) * values[2]
    total += np.float32(centre + 0.5)
    return np.clip(total, 0, 255.5, out=total).astype(np.uint8)
