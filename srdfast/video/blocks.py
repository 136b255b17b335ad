# SPDX-License-Identifier: Apache-2.0
"""A plane in square blocks, each with the window of pixels that its purification looks at.

The Tikhonov split of a whole plane lets every pixel depend on all others, though only as exp(-distance /
length): for strength 5 the length is 2.3 pixels. Here a block is purified from a window alone, which reaches
far enough that the rest no longer matters. So a block's purification is a function of its window, and where a
window has not changed, neither has the result: not approximately, but to the bit.

A plane is continued by reflection past its borders, which is the boundary of the split of a whole plane.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..planes import Levels

UNIT = 16  # pixels; sides and halos are multiples of it, so that lines of blocks are whole vectors
SIDE, LARGE_SIDE = 64, 128  # pixels a side of a block, about; the larger, the less windows overlap
LARGE = 512  # pixels of a plane's shorter side from which blocks are large
PIXELS_TOGETHER = 1 << 18
LEFT_OUT = 0.005  # weight of what lies outside a window, at most: a border's difference times this
MOST_MARGIN = 96  # pixels

Codes = NDArray[np.unsignedinteger]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Geometry:
    """Sides and margins in pixels; all a function of the patches and of the split.

    Attributes:
        side: of a block.
        halo: from a block to the border of its window, a multiple of `UNIT`.
        before: from a block back to the first pixel that a patch over the block covers.
        after: the same past the block's end.
    """

    side: int
    halo: int
    before: int
    after: int

    @classmethod
    def of(cls, patch: int, stride: int, strength: float, shape: tuple[int, int]) -> "Geometry":
        """The geometry for patches `patch` wide, `stride` apart, and a split of `strength`.

        `shape` is the (height, width) of the plane.

        Raises:
            ValueError: the split is so strong that windows would be far larger than blocks.
        """
        margin = _margin(strength)
        if margin > MOST_MARGIN:
            raise ValueError(
                f"split_strength: expected one whose low band looks at most {MOST_MARGIN} pixels far, "
                f"got {strength:g}, which looks {margin} far; train a model with less"
            )
        unit = math.lcm(stride, UNIT)
        before, after = stride * ((patch - 1) // stride), patch - stride
        halo = -(-(margin + max(before, after)) // UNIT) * UNIT
        side = LARGE_SIDE if min(shape) >= LARGE else SIDE
        return cls(unit * max(1, round(side / unit)), halo, before, after)

    @property
    def window(self) -> int:
        """Side of a window."""
        return self.side + 2 * self.halo

    @property
    def together(self) -> int:
        """Blocks that are coded at once, so few that what passes between the kernels stays in the cache."""
        return max(1, PIXELS_TOGETHER // self.side**2)

    @property
    def crop(self) -> int:
        """Side of what is coded for a block: the block, `before` and `after`."""
        return self.before + self.side + self.after


def _margin(strength: float) -> int:
    """Distance at which the kernel of the split, exp(-decay * pixels), has fallen to `LEFT_OUT`."""
    if strength == 0:
        return 0
    decay = math.acosh(1 + 1 / (2 * strength))
    return math.ceil(-math.log(LEFT_OUT) / decay)


class Plane:
    """One plane of one frame after another: its pixels, its blocks, and which of them have changed.

    Args:
        shape: (height, width).
        dtype: uint8 or uint16.
        geometry: of the blocks.
        tolerance: codes by which a pixel of a window may differ before the window counts as changed.
    """

    def __init__(
        self, shape: tuple[int, int], dtype: np.dtype, geometry: Geometry, tolerance: int = 0
    ) -> None:
        self.shape, self.geometry, self._tolerance = shape, geometry, tolerance
        side, halo = geometry.side, geometry.halo
        counts = [-(-length // side) for length in shape]
        padded = [count * side + 2 * halo for count in counts]
        self._now = np.zeros(padded, dtype)
        self._sources = [_reflected(length, total, halo) for length, total in zip(shape, padded, strict=True)]
        self._places = np.ascontiguousarray(np.argwhere(np.ones(counts)) * side)  # [blocks, 2]
        self._references = np.zeros((len(self._places), geometry.window, geometry.window), dtype)
        self._changed = np.zeros(len(self._places), np.uint8)
        self._result = np.zeros([count * side for count in counts], dtype)
        self._known = False

    def __len__(self) -> int:
        """How many blocks there are."""
        return len(self._places)

    def forget(self) -> None:
        """Takes every block for changed at the next `advance`."""
        self._known = False

    def advance(self, pixels: Codes) -> Places:
        """Takes the next frame's pixels [height, width]; tells which blocks must be purified (again).

        Returns:
            int64 [n, 2], row and column of the first pixel of each block whose window differs, by more than
            the tolerance, from what it was when last returned here; of every block where nothing is known.
        """
        self._fill(pixels)
        tolerance = self._tolerance if self._known else -1
        _core.refresh_windows(self._now, self._places, tolerance, self._references, self._changed)
        self._known = True
        return self._places[self._changed != 0]

    def cut(self, places: Places, scale: float, windows: NDArray[np.float32]) -> None:
        """Writes to `windows` [n, window, window] those of the blocks at `places` [n, 2], times `scale`."""
        _core.cut_windows(self._now, places, scale, windows)

    def join(
        self, places: Places, low: NDArray[np.float32], rebuilt: NDArray[np.float32], levels: Levels
    ) -> None:
        """Keeps low + rebuilt as the purified blocks at `places` [n, 2], rounded to codes.

        Args:
            places: what `advance` returned, or some of it.
            low: float32 [n, window, window].
            rebuilt: float32 [n, crop, crop].
            levels: of the plane; values are codes over its span.
        """
        geometry = self.geometry
        _core.join_blocks(
            low, geometry.halo, rebuilt, geometry.before, places, geometry.side, levels.span, levels.most,
            self._result,
        )  # fmt: skip

    def result(self) -> Codes:
        """The purified plane, a copy [height, width]."""
        height, width = self.shape
        return self._result[:height, :width].copy()

    def _fill(self, pixels: Codes) -> None:
        halo, (height, width) = self.geometry.halo, self.shape
        down, across = self._sources
        inside = self._now[halo : halo + height]
        inside[:, halo : halo + width] = pixels
        inside[:, :halo] = pixels[:, across[:halo]]
        inside[:, halo + width :] = pixels[:, across[halo + width :]]
        self._now[:halo] = inside[down[:halo]]
        self._now[halo + height :] = inside[down[halo + height :]]


def _reflected(length: int, total: int, halo: int) -> NDArray[np.intp]:
    """Which of `length` pixels continue a line by reflection, the first at `halo`: int [total].

    Further than `halo` past the end, where nothing matters any more, the last one is repeated: a block at the
    end then depends on no pixels but those near it.
    """
    position = np.minimum(np.arange(total) - halo, length + halo - 1) % (2 * length)
    return np.minimum(position, 2 * length - 1 - position)
