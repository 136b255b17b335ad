# SPDX-License-Identifier: Apache-2.0
"""Which cluster's dictionary a frame gets: the robust encoder's choice, made steady over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..planes import Levels, to_rgb

if TYPE_CHECKING:
    from ..purifier import Purifier

Floats = NDArray[np.float32]

CHANGED = 6 / 255  # mean absolute difference of the sketches, in [0, 1], that calls for another look,
SOONEST = 4  # but only so many frames after the last one: leaves in the wind change all the time
CUT = 24 / 255  # that calls for one at once
STILL = 3 / 255  # up to which nothing has happened: noise, somebody who walks through the scene
PATIENCE = 8  # times as many frames as usual may then pass between two looks
SKETCH = 48  # pixels of the luma in each direction that a sketch looks at, about
USUAL_SIZE = 224  # side in pixels of what an encoder sees that names no size of its own
FINER = 2  # a plane is first averaged down to no less than so many times what the encoder sees


class ClusterChoice:
    """The cluster of one frame after another.

    The encoder looks at the first frame, at every `every`-th after a look, at one whose sketch (a sparse grid
    of luma pixels) differs clearly from that of a look some frames ago, and at one that differs as much as
    after a cut; where the sketch is still what it was, at every eighth of those frames only, unless `every`
    is 1. The cluster changes only if another one's log prior + log density is above that of the present one
    by more than `hysteresis`.

    Args:
        purifier: its encoder and Gaussians choose.
        hysteresis: in nats, at least 0.
        every: frames, at least 1.
    """

    def __init__(self, purifier: Purifier, hysteresis: float, every: int) -> None:
        from ..encoding import Encoding

        self._encoder, self._size = purifier.encoder, purifier.image_size or USUAL_SIZE
        self._grey = len(purifier.encoder.spec["mean"]) == 1
        self._encoding = Encoding(purifier.bank.gaussians, "product", None)
        self._hysteresis, self._every = hysteresis, every
        self.reset()

    def reset(self) -> None:
        """Forgets all frames."""
        self.cluster = -1
        self.log_likelihood = float("nan")
        self._age = 0
        self._sketch: Floats | None = None

    def update(self, planes: Sequence[np.ndarray], levels: Sequence[Levels], matrix: str) -> int:
        """The cluster for the next frame.

        Args:
            planes: (Y,) or (Y, Cb, Cr), integers [height, width].
            levels: what their codes mean.
            matrix: how they become RGB.
        """
        sketch = _sketch(planes[0], levels[0])
        self._age += 1
        if self._is_due(sketch):
            self._look(planes, levels, matrix)
            self._sketch, self._age = sketch, 0
        return self.cluster

    def _is_due(self, sketch: Floats) -> bool:
        if self._sketch is None:
            return True
        change = float(np.abs(sketch - self._sketch).mean())
        if self._age >= self._every * (PATIENCE if change <= STILL and self._every > 1 else 1):
            return True
        return change > (CHANGED if self._age >= SOONEST else CUT)

    def _look(self, planes: Sequence[np.ndarray], levels: Sequence[Levels], matrix: str) -> None:
        planes, levels = (planes[:1], levels[:1]) if self._grey else (planes, levels)
        view = seen(planes, levels, matrix, self._size)
        latents = self._encoding.latents(self._encoder, view[:, :1] if self._grey else view)
        scores = self._encoding.nearest.scores(latents)[0]
        best = int(scores.argmax())
        if self.cluster < 0 or scores[best] - scores[self.cluster] > self._hysteresis:
            self.cluster = best
        self.log_likelihood = float(scores[self.cluster])


def seen(planes: Sequence[np.ndarray], levels: Sequence[Levels], matrix: str, size: int) -> Any:
    """The frame as an encoder sees it: torch float32 [1, 3, size, size], RGB in [0, 1]."""
    import torch
    from torch.nn import functional

    values = []
    for plane, level in zip(planes, levels, strict=True):
        coarse = torch.from_numpy((_coarse(plane, FINER * size) - level.zero) / np.float32(level.span))
        values.append(
            functional.interpolate(coarse[None, None], (size, size), mode="bilinear", antialias=True)
        )
    colours = to_rgb(values[0], values[1], values[2], matrix) if len(values) == 3 else 3 * values
    return torch.cat(colours, 1).clamp_(0, 1)


def _coarse(plane: np.ndarray, least: int) -> Floats:
    """A plane averaged over equal rectangles, float32 [height, width] of at least `least` where it can.

    Up to a rectangle less one pixel is left out at the far borders.
    """
    down, across = (max(1, length // least) for length in plane.shape)
    height, width = plane.shape[0] // down, plane.shape[1] // across
    lines = np.zeros((height, plane.shape[1]), np.int32)
    for row in range(down):
        lines += plane[row : height * down : down]
    sums = np.zeros((height, width), np.int32)
    for column in range(across):
        sums += lines[:, column : width * across : across]
    return sums.astype(np.float32) / np.float32(down * across)


def _sketch(luma: np.ndarray, levels: Levels) -> Floats:
    steps = [max(1, length // SKETCH) for length in luma.shape]
    codes = luma[steps[0] // 2 :: steps[0], steps[1] // 2 :: steps[1]]
    return codes.astype(np.float32) / np.float32(levels.span)
