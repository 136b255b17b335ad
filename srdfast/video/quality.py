# SPDX-License-Identifier: Apache-2.0
"""What a purification does to video that nobody attacked: PSNR, SSIM and flicker of the luma."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Quality:
    """Of a purified clip beside the clip itself, luma alone; levels are codes of 8 bits."""

    frames: int
    """Frames that were compared."""
    psnr: float
    """Peak signal-to-noise ratio over all frames, in decibels (peak 255); infinite where nothing changed."""
    ssim: float
    """Structural similarity (Wang et al. 2004), mean over the frames."""
    change: float
    """Mean absolute change of a pixel, in levels."""
    flicker: float
    """Mean absolute difference of a pixel's changes from frame to frame, in levels; NaN for one."""


def measure(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> Quality:
    """Compares the luma of clean and purified frames.

    Args:
        pairs: (clean, purified), uint8 [height, width] each, frame after frame, at least 7 pixels a side.

    Raises:
        ValueError: no frames, or planes that do not fit.
    """
    from skimage.metrics import structural_similarity

    squares, changes, similarities, flickers = [], [], [], []
    before: np.ndarray | None = None
    for clean, purified in pairs:
        if clean.dtype != np.uint8 or clean.shape != purified.shape or purified.dtype != np.uint8:
            raise ValueError("pairs: expected uint8 planes of one shape")
        change = purified.astype(np.int16) - clean
        squares.append(float((change.astype(np.float32) ** 2).mean()))
        changes.append(float(np.abs(change).mean()))
        similarities.append(float(structural_similarity(clean, purified, data_range=255)))
        if before is not None and before.shape == change.shape:
            flickers.append(float(np.abs(change - before).mean()))
        before = change
    if not squares:
        raise ValueError("pairs: expected at least one frame, got none")
    error = float(np.mean(squares))
    return Quality(
        frames=len(squares),
        psnr=10 * math.log10(255**2 / error) if error else math.inf,
        ssim=float(np.mean(similarities)),
        change=float(np.mean(changes)),
        flicker=float(np.mean(flickers)) if flickers else math.nan,
    )
