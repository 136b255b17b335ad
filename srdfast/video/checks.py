# SPDX-License-Identifier: Apache-2.0
"""What a frame must be to be purified."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import Array, dtype_name
from ..planes import luma_weights


def require_frame(planes: Sequence[Array], bit_depth: int, matrix: str) -> None:
    """Raises TypeError or ValueError unless the planes, arrays of any library, are those of a frame."""
    luma_weights(matrix)
    if type(bit_depth) is not int or not 8 <= bit_depth <= 16:
        raise ValueError(f"bit_depth: expected 8 to 16, got {bit_depth!r}")
    if not isinstance(planes, (tuple, list)) or len(planes) not in (1, 3):
        got = f"{len(planes)} planes" if isinstance(planes, (tuple, list)) else type(planes).__name__
        raise ValueError(f"planes: expected (Y,) or (Y, U, V), got {got}")
    dtype = "uint8" if bit_depth == 8 else "uint16"
    for name, plane in zip("YUV", planes, strict=False):
        shape = tuple(getattr(plane, "shape", ()))
        kind = dtype_name(plane) if hasattr(plane, "dtype") else type(plane).__name__
        if kind != dtype or len(shape) != 2 or 0 in shape:
            raise TypeError(f"planes: expected {name} as {dtype} [height, width], got {kind} {list(shape)}")
    if len(planes) == 3:
        _require_chroma(*(tuple(plane.shape) for plane in planes))


def require_numpy(planes: Sequence[Array], bit_depth: int) -> None:
    """Raises unless the planes of a frame are numpy arrays whose codes have that many bits."""
    for name, plane in zip("YUV", planes, strict=False):
        if not isinstance(plane, np.ndarray):
            raise TypeError(f"planes: expected {name} as a numpy array, got {type(plane).__name__}")
        if 8 < bit_depth < 16 and plane.max() >> bit_depth:
            raise ValueError(f"planes: expected codes of {bit_depth} bits, got {plane.max()} in {name}")


def _require_chroma(luma: tuple[int, ...], first: tuple[int, ...], second: tuple[int, ...]) -> None:
    height, width = luma
    fitting = [(height, width), (height, -(-width // 2)), (-(-height // 2), -(-width // 2))]
    if first != second or first not in fitting:
        sizes = " or ".join(f"{rows} x {columns}" for rows, columns in dict.fromkeys(fitting))
        raise ValueError(
            f"planes: expected U and V of {sizes} (height x width) beside Y of {height} x {width}, "
            f"got {first[0]} x {first[1]} and {second[0]} x {second[1]}"
        )
