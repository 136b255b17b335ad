# SPDX-License-Identifier: Apache-2.0
"""Pixel formats: how the bytes of a frame become planes and planes become bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .colour import planes_to_rgb, rgb_to_planes

_HALVED = {"gray": (1, 1), "420": (2, 2), "422": (2, 1), "444": (1, 1)}  # chroma: across, down


@dataclass(frozen=True)
class PixelFormat:
    """A pixel format by FFmpeg's name.

    Attributes:
        name: such as "yuv420p10le".
        layout: "gray", "420", "422" or "444"; that of the planes.
        depth: bits of a value; more than 8 are stored in 16, little-endian.
        packing: "planar", "nv12" (U and V alternate in one plane), "rgb24" or "bgr24".
    """

    name: str
    layout: str
    depth: int = 8
    packing: str = "planar"

    @property
    def dtype(self) -> np.dtype:
        """Of the planes."""
        return np.dtype("u1" if self.depth == 8 else "<u2")

    @property
    def is_rgb(self) -> bool:
        """Whether planes are made by `colour.rgb_to_planes`."""
        return self.packing in ("rgb24", "bgr24")

    def shapes(self, width: int, height: int) -> tuple[tuple[int, int], ...]:
        """[height, width] of each plane; chroma is rounded up where a side is odd."""
        if self.layout == "gray":
            return ((height, width),)
        across, down = _HALVED[self.layout]
        chroma = (-(-height // down), -(-width // across))
        return ((height, width), chroma, chroma)

    def frame_bytes(self, width: int, height: int) -> int:
        """Bytes of a frame."""
        return sum(rows * columns for rows, columns in self.shapes(width, height)) * self.dtype.itemsize

    def unpack(self, data: np.ndarray, width: int, height: int) -> tuple[np.ndarray, ...]:
        """Planes of the bytes of a frame, uint8 [frame_bytes]; planar ones share its memory.

        Values above the depth's largest are brought down to it.
        """
        if self.is_rgb:
            return rgb_to_planes(data.reshape(height, width, 3), self.packing[:3])
        values = data.view(self.dtype)
        if self.depth > 8:
            np.minimum(values, (1 << self.depth) - 1, out=values)
        if self.packing == "nv12":
            luma, chroma = np.split(values, [height * width])
            pairs = chroma.reshape(*self.shapes(width, height)[1], 2)
            return (luma.reshape(height, width), pairs[..., 0].copy(), pairs[..., 1].copy())
        planes, start = [], 0
        for rows, columns in self.shapes(width, height):
            planes.append(values[start : start + rows * columns].reshape(rows, columns))
            start += rows * columns
        return tuple(planes)

    def pack(self, planes: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Contiguous arrays whose bytes, one after the other, are the frame."""
        if self.is_rgb:
            return [planes_to_rgb(planes, self.packing[:3])]
        if self.packing == "nv12":
            return [np.ascontiguousarray(planes[0]), np.stack(planes[1:], axis=-1)]
        return [np.ascontiguousarray(plane) for plane in planes]

    def planar(self) -> PixelFormat:
        """The format of the planes themselves."""
        return planar(self.layout, self.depth)


def planar(layout: str, depth: int) -> PixelFormat:
    """The planar format of a layout and depth."""
    stem = "gray" if layout == "gray" else f"yuv{layout}p"
    return PixelFormat(stem + (f"{depth}le" if depth > 8 else ""), layout, depth)


# The formats of `--raw`; files are also read in depths of 12 to 16 bits.
RAW = {
    **{
        format.name: format
        for depth in (8, 10)
        for format in (planar(layout, depth) for layout in ("gray", "420", "422", "444"))
    },
    "nv12": PixelFormat("nv12", "420", packing="nv12"),
    "rgb24": PixelFormat("rgb24", "444", packing="rgb24"),
    "bgr24": PixelFormat("bgr24", "444", packing="bgr24"),
}
