# SPDX-License-Identifier: Apache-2.0
"""Luma and chroma planes: what their codes mean, their relation to RGB, and images by way of them.

The equations are those of ITU-R BT.601, BT.709 and BT.2020 (non-constant luminance).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

# Weights of red and blue in the luma.
MATRICES = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}


@dataclass(frozen=True)
class Levels:
    """The codes of one kind of plane: code = zero + span * value, from 0 to `most`.

    A value is in [0, 1] for luma and in [-0.5, 0.5] for chroma; codes beyond those, where there are any,
    stand for values beyond.
    """

    zero: int
    """The code of the value 0."""
    span: int
    """Codes from the value 0 to the value 1."""
    most: int
    """The largest code, 2^bit_depth - 1."""

    @classmethod
    def of(cls, bit_depth: int, full_range: bool, chroma: bool) -> Levels:
        """The levels of a plane of `bit_depth` bits, 8 to 16."""
        most, step = (1 << bit_depth) - 1, 1 << (bit_depth - 8)
        if chroma:
            return cls(128 * step, most if full_range else 224 * step, most)
        return cls(0, most, most) if full_range else cls(16 * step, 219 * step, most)


def luma_weights(matrix: str) -> tuple[float, float, float]:
    """The weights of red, green and blue in the luma of `matrix`.

    Raises:
        ValueError: no such matrix.
    """
    if matrix not in MATRICES:
        raise ValueError(f"matrix: expected one of {', '.join(MATRICES)}, got {matrix!r}")
    red, blue = MATRICES[matrix]
    return red, 1 - red - blue, blue


def from_rgb(red: Any, green: Any, blue: Any, matrix: str = "bt709") -> tuple[Any, Any, Any]:
    """Luma in [0, 1] and chroma (Cb, Cr) in [-0.5, 0.5] of arrays of any library, values in [0, 1]."""
    of_red, of_green, of_blue = luma_weights(matrix)
    luma = of_red * red + of_green * green + of_blue * blue
    return luma, (blue - luma) / (2 - 2 * of_blue), (red - luma) / (2 - 2 * of_red)


def to_rgb(luma: Any, blue_chroma: Any, red_chroma: Any, matrix: str = "bt709") -> tuple[Any, Any, Any]:
    """Red, green and blue of luma in [0, 1] and chroma (Cb, Cr) in [-0.5, 0.5]; the inverse of `from_rgb`."""
    of_red, of_green, of_blue = luma_weights(matrix)
    red = luma + (2 - 2 * of_red) * red_chroma
    blue = luma + (2 - 2 * of_blue) * blue_chroma
    return red, (luma - of_red * red - of_blue * blue) / of_green, blue


def luma_of(images: Any, matrix: str = "bt709") -> Any:
    """The luma [batch, 1, height, width] of images [batch, 3, height, width] of any library and range."""
    return sum(weight * images[:, at : at + 1] for at, weight in enumerate(luma_weights(matrix)))


def through_planes(images: Tensor, purify: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Purifies images as 4:2:0 video has them: luma at full resolution, chroma at half of it (BT.709).

    Args:
        images: float [batch, 3, height, width], RGB in [0, 1].
        purify: from planes [n * batch, 1, h, w] in [0, 1] and n to planes of the same shape; called for the
            luma (n = 1) and for the chroma, whose 0 is at 0.5 (n = 2: all of Cb, then all of Cr).

    Returns:
        Float [batch, 3, height, width] in [0, 1]; differentiable where `purify` is.
    """
    import torch
    from torch.nn import functional

    luma, *chroma = from_rgb(*images.split(1, 1))
    halves = functional.avg_pool2d(torch.cat(chroma) + 0.5, 2, ceil_mode=True)
    purified = functional.interpolate(purify(halves, 2) - 0.5, scale_factor=2, mode="bilinear")
    cropped = purified[:, :, : images.shape[2], : images.shape[3]]
    blue_chroma, red_chroma = cropped.unflatten(0, (2, images.shape[0])).unbind(0)
    return torch.cat(to_rgb(purify(luma.contiguous(), 1), blue_chroma, red_chroma), 1).clamp(0, 1)
