# SPDX-License-Identifier: Apache-2.0
"""A plane in blocks, each with the window of pixels that its purification looks at.

The Tikhonov split of a whole plane lets every pixel depend on all others, though only as exp(-distance /
length): for strength 5 the length is 2.3 pixels. Here a block is purified from a window alone, which reaches
far enough that the rest no longer matters. So a block's purification is a function of its window, and where a
window has not changed, neither has the result: not approximately, but to the bit.

A plane is continued by reflection past its borders, which is the boundary of the split of a whole plane.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..planes import Levels

UNIT = 16  # pixels; halos and the widths of windows are multiples of it, so that lines are whole vectors
SIDE, LARGE_SIDE = 64, 128  # pixels a side of a block, at most; the larger, the less windows overlap
LARGE = 512  # pixels of a plane's shorter side from which blocks are large
LEFT_OUT = 0.005  # weight of what lies outside a window, at most: a border's difference times this
MOST_MARGIN = 96  # pixels
MOST_KEPT = 24  # atoms of a patch's code that is kept for the next frame: 145 bytes a patch

Codes = NDArray[np.unsignedinteger]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Geometry:
    """Sides and margins in pixels; all a function of the patches, the split and the size of the plane.

    A plane is cut into as few blocks as may be, all of one size, so that little of them lies outside of it.

    Attributes:
        rows: of a block.
        columns: of a block.
        halo: from a block to the border of its window, a multiple of `UNIT`; to the right there may be more.
        window_rows: of a window.
        window_columns: of a window; a length whose transform is fast.
        patches: that cover a block.
    """

    rows: int
    columns: int
    halo: int
    window_rows: int
    window_columns: int
    patches: int

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
        before, after = stride * ((patch - 1) // stride), patch - stride  # pixels that patches reach out
        halo = _up(margin + max(before, after), UNIT)
        most = max(stride, (LARGE_SIDE if min(shape) >= LARGE else SIDE) // stride * stride)
        rows, columns = (_up(-(-length // -(-length // most)), stride) for length in shape)
        patches = math.prod((before + side + after - patch) // stride + 1 for side in (rows, columns))
        return cls(rows, columns, halo, rows + 2 * halo, _smooth(columns + 2 * halo), patches)

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """As the kernel takes it."""
        return self.rows, self.columns, self.window_rows, self.window_columns, self.halo


def _up(length: int, unit: int) -> int:
    """The least multiple of `unit` that is not below `length`."""
    return -(-length // unit) * unit


def _smooth(length: int) -> int:
    """The least multiple of `UNIT` not below `length` that has no prime factor above 7."""
    length = _up(length, UNIT)
    while 210 ** length.bit_length() % length:
        length += UNIT
    return length


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
        keeps_codes: whether sparse codes are kept from which the next frame's start.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        dtype: np.dtype,
        geometry: Geometry,
        tolerance: int = 0,
        keeps_codes: bool = False,
    ) -> None:
        self.shape, self.geometry, self._tolerance = shape, geometry, tolerance
        sides, windows = geometry.shape[:2], geometry.shape[2:4]
        counts = [-(-length // side) for length, side in zip(shape, sides, strict=True)]
        padded = [(n - 1) * side + window for n, side, window in zip(counts, sides, windows, strict=True)]
        self._now = np.zeros(padded, dtype)
        self._sources = [
            _reflected(length, total, geometry.halo) for length, total in zip(shape, padded, strict=True)
        ]
        self._places = np.ascontiguousarray(np.argwhere(np.ones(counts)) * sides)  # [blocks, 2]
        self._references = np.zeros((len(self._places), *windows), dtype)
        self._changed = np.zeros(len(self._places), np.uint8)
        self._result = np.zeros([n * side for n, side in zip(counts, sides, strict=True)], dtype)
        self._known = False
        patches = len(self._places), geometry.patches
        self._kept = None
        if keeps_codes:
            self._kept = (
                np.zeros(patches, np.uint8),
                np.empty((*patches, MOST_KEPT), np.uint16),
                np.empty((*patches, MOST_KEPT), np.float32),
            )

    def __len__(self) -> int:
        """How many blocks there are."""
        return len(self._places)

    def forget(self) -> None:
        """Takes every block for changed at the next `advance`."""
        self._known = False

    def forget_codes(self) -> None:
        """Lets the next codes start from nothing: those that were kept are of another dictionary."""
        if self._kept is not None:
            self._kept[0][:] = 0

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

    def work(self, places: Places, levels: Levels) -> tuple[Any, ...]:
        """What the kernels of the operator `frame` need to purify the blocks at `places` [n, 2]."""
        return (
            self._now, places, self._result, self.geometry.shape, levels.span, levels.most, self._kept
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
