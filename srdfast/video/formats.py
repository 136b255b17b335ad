# SPDX-License-Identifier: Apache-2.0
"""What a video is made of: its format, its frames, and what purifies one of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from ..errors import DataError
from .pixels import PixelFormat

Planes = tuple[np.ndarray, ...]  # (Y,) or (Y, U, V), each uint8 or uint16 [height, width]

LARGEST_SIDE = 1 << 15
MOST_PIXELS = 1 << 28


class PlanePurifier(Protocol):
    """What this package asks of a frame purifier; `srdfast.video.FramePurifier` is one."""

    def purify(self, planes: Planes, *, bit_depth: int, full_range: bool, matrix: str) -> Planes:
        """The purified planes, of the same shapes and type."""

    def reset(self) -> None:
        """Forgets the frames before, for another video."""


@dataclass(frozen=True)
class Colour:
    """How planes become colours, in the numbers of ITU-T H.273 that FFmpeg uses; 2 is "unspecified"."""

    matrix: int = 2
    primaries: int = 2
    transfer: int = 2
    full_range: bool | None = None

    def matrix_name(self, height: int) -> str:
        """The matrix as the purifier knows it: "bt601", "bt709" or "bt2020".

        Where the source does not say, high definition (720 lines or more) is taken for BT.709 and all else
        for BT.601, as players do.
        """
        named = {1: "bt709", 5: "bt601", 6: "bt601", 9: "bt2020", 10: "bt2020"}
        return named.get(self.matrix, "bt709" if height >= 720 else "bt601")


# What planes that were made of RGB are; the transfer is taken for that of BT.709, as RGB rarely says.
RGB = Colour(matrix=1, primaries=1, transfer=1, full_range=True)


@dataclass(frozen=True)
class VideoFormat:
    """Everything about a video but its frames.

    Attributes:
        width, height: pixels of a frame.
        pixels: how a pixel is stored.
        rate: frames a second, None where nobody says.
        time_base: seconds that one tick of a time stamp lasts.
        colour: range, matrix, primaries and transfer.
        aspect: width of a pixel to its height, None where nobody says.
        display_matrix: the nine numbers by which a player turns or mirrors the picture.
        interlacing: the letter of YUV4MPEG2: p, t, b, m or ?.
        chroma_site: where 4:2:0 chroma sits, in the words of YUV4MPEG2: jpeg, mpeg2 or paldv.
    """

    width: int
    height: int
    pixels: PixelFormat
    rate: Fraction | None
    time_base: Fraction
    colour: Colour = Colour()
    aspect: Fraction | None = None
    display_matrix: tuple[int, ...] | None = None
    interlacing: str = "p"
    chroma_site: str = "jpeg"

    def of_purifier(self) -> dict[str, Any]:
        """The keyword arguments of `PlanePurifier.purify`."""
        return {
            "bit_depth": self.pixels.depth,
            "full_range": bool(self.colour.full_range),
            "matrix": self.colour.matrix_name(self.height),
        }


@dataclass(slots=True)
class Frame:
    """One frame on its way.

    Attributes:
        planes: (Y,) or (Y, U, V).
        pts: when to show it, in ticks of the format's time base.
        arrived: `time.perf_counter` when its last bytes began to arrive.
        decode: seconds from there to the planes.
        duration: how long to show it, in ticks; 0 where nobody says.
    """

    planes: Planes
    pts: int
    arrived: float = field(default_factory=time.perf_counter)
    decode: float = 0.0
    duration: int = 0


@dataclass(frozen=True, slots=True)
class Passenger:
    """A packet of sound or subtitles, which travels with the frames and is not looked into."""

    packet: Any  # av.Packet


def check_size(width: int, height: int, what: str) -> None:
    """Refuses absurd sizes before anything is allocated.

    Raises:
        DataError: a side is under 1 or over 32,768, or there are more than 2^28 pixels.
    """
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE) or width * height > MOST_PIXELS:
        raise DataError(
            f"{what}: frames of {width}x{height}; expected sides of 1 to {LARGEST_SIDE} and at most "
            f"{MOST_PIXELS} pixels"
        )
