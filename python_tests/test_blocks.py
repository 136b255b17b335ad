# SPDX-License-Identifier: Apache-2.0
"""The operator `blocks`: windows cut from planes and blocks joined to planes, beside plain numpy."""

import numpy as np
import pytest

from srdfast import _core

CODES = pytest.mark.parametrize("dtype", [np.uint8, np.uint16])


def plane_of(source, dtype, shape=(40, 57)):
    return source.integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)


@CODES
def test_windows_are_cut_where_they_lie(rng, dtype):
    plane, places = plane_of(rng, dtype), rng.integers(0, 20, (30, 2))
    windows = np.empty((30, 17, 23), np.float32)
    _core.cut_windows(plane, places, 0.25, windows)
    for (row, column), window in zip(places, windows, strict=True):
        np.testing.assert_array_equal(window, plane[row : row + 17, column : column + 23] * np.float32(0.25))


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


def test_centres_are_cut_from_images(rng):
    images = rng.normal(size=(9, 21, 25)).astype(np.float32)
    centres = np.empty((9, 13, 13), np.float32)
    _core.cut_centres(images, 5, centres)
    np.testing.assert_array_equal(centres, images[:, 5:18, 5:18])


@CODES
def test_blocks_are_joined_rounded_and_clipped(rng, dtype):
    most = np.iinfo(dtype).max
    low = rng.uniform(-0.3, 1.3, (6, 14, 15)).astype(np.float32)
    rebuilt = rng.normal(scale=0.1, size=(6, 10, 11)).astype(np.float32)
    places = np.array([(8 * row, 8 * column) for row in range(2) for column in range(3)])
    before = plane_of(rng, dtype, (20, 30))
    plane = before.copy()
    _core.join_blocks(low, 4, rebuilt, 2, places, 8, float(most), float(most), plane)
    wanted = before.copy()
    for i, (row, column) in enumerate(places):
        value = low[i, 4:12, 4:12].astype(float) + rebuilt[i, 2:10, 2:10]
        wanted[row : row + 8, column : column + 8] = np.floor(most * value + 0.5).clip(0, most)
    apart = np.abs(plane.astype(int) - wanted)
    assert apart.max() <= 1 and (apart > 0).mean() < 0.01  # float32 beside float64, at a half
    np.testing.assert_array_equal(plane[16:], before[16:])  # what is no block's stays


def test_arguments_are_checked():
    plane, windows = np.zeros((20, 20), np.uint8), np.zeros((1, 8, 8), np.float32)
    for place in ((-1, 0), (0, 13), (13, 0), (1 << 40, 0)):
        with pytest.raises(ValueError, match=r"places: .* in row 0"):
            _core.cut_windows(plane, np.array([place]), 1.0, windows)
        with pytest.raises(ValueError, match=r"places: .* in row 0"):
            _core.join_blocks(windows, 0, windows, 0, np.array([place]), 8, 1.0, 255.0, plane)
    at = np.zeros((1, 2), np.int64)
    with pytest.raises(TypeError, match="plane: expected uint8 or uint16, got float32"):
        _core.cut_windows(windows[0], at, 1.0, windows)
    with pytest.raises(ValueError, match="places"):
        _core.cut_windows(plane, np.zeros((2, 2), np.int64), 1.0, windows)
    with pytest.raises(ValueError, match="first"):
        _core.cut_centres(windows, 5, windows[:, :4, :4].copy())
    with pytest.raises(ValueError, match="in_low"):
        _core.join_blocks(windows, 1, windows, 0, at, 8, 1.0, 255.0, plane)
    with pytest.raises(ValueError, match="in_rebuilt"):
        _core.join_blocks(windows, 0, windows, -1, at, 8, 1.0, 255.0, plane)
    with pytest.raises(ValueError, match="most"):
        _core.join_blocks(windows, 0, windows, 0, at, 8, 1.0, 256.0, plane)
    plane.setflags(write=False)
    with pytest.raises((TypeError, ValueError, BufferError)):
        _core.join_blocks(windows, 0, windows, 0, at, 8, 1.0, 255.0, plane)
