# SPDX-License-Identifier: Apache-2.0
"""The operator `blocks`: which windows of a plane have changed, beside plain numpy."""

import numpy as np
import pytest

from srdfast import _core

CODES = pytest.mark.parametrize("dtype", [np.uint8, np.uint16])


def plane_of(source, dtype, shape=(40, 57)):
    return source.integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)


@CODES
@pytest.mark.parametrize("tolerance", [-1, 0, 5])
def test_windows_that_differ_are_refreshed(rng, dtype, tolerance):
    plane, places = plane_of(rng, dtype), rng.integers(0, 20, (40, 2))
    windows = np.stack([plane[row : row + 9, column : column + 13] for row, column in places])
    most, moves = (
        int(np.iinfo(dtype).max),
        rng.integers(-8, 9, (40, 9, 13)) * (rng.random((40, 9, 13)) < 0.01),
    )
    references = (windows.astype(np.int64) + moves).clip(0, most).astype(dtype)
    apart = np.abs(references.astype(np.int64) - windows).max((1, 2))
    before, changed = references.copy(), np.full(40, 7, np.uint8)
    _core.refresh_windows(plane, places, tolerance, references, changed)
    np.testing.assert_array_equal(changed, apart > tolerance)
    np.testing.assert_array_equal(references, np.where((apart > tolerance)[:, None, None], windows, before))
    assert tolerance < 0 or 0 < changed.sum() < 40


def test_arguments_are_checked():
    plane, windows = np.zeros((20, 20), np.uint8), np.zeros((1, 8, 8), np.uint8)
    changed = np.zeros(1, np.uint8)
    for place in ((-1, 0), (0, 13), (13, 0), (1 << 40, 0)):
        with pytest.raises(ValueError, match=r"places: .* in row 0"):
            _core.refresh_windows(plane, np.array([place]), 0, windows, changed)
    at = np.zeros((1, 2), np.int64)
    with pytest.raises(TypeError, match="plane: expected uint8 or uint16, got float32"):
        _core.refresh_windows(plane.astype(np.float32), at, 0, windows, changed)
    with pytest.raises(ValueError, match="places"):
        _core.refresh_windows(plane, np.zeros((2, 2), np.int64), 0, windows, changed)
    with pytest.raises(ValueError, match="changed"):
        _core.refresh_windows(plane, at, 0, windows, np.zeros(2, np.uint8))
    windows.setflags(write=False)
    with pytest.raises((TypeError, ValueError, BufferError)):
        _core.refresh_windows(plane, at, 0, windows, changed)
