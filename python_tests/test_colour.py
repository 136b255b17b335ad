# SPDX-License-Identifier: Apache-2.0
"""Colours: pixels to planes and back by the kernel, beside the formulas in float64."""

import numpy as np
import pytest

from srdfast import _core
from srdfast.planes import Levels, from_rgb, to_rgb
from srdfast.video.colour import planes_to_rgb, rgb_to_planes

MAPS = pytest.mark.parametrize(
    ("matrix", "full_range"),
    [(name, full) for name in ("bt601", "bt709", "bt2020") for full in (True, False)],
)
BAND = 2e-4  # of a code: how far float32 may be from the exact value


def levels_of(full_range):
    return [Levels.of(8, full_range, chroma) for chroma in (False, True, True)]


def require_rounded(codes, exact):
    """Codes are exact values brought into 0..255 and rounded to the nearest."""
    assert np.abs(codes - exact.clip(0, 255)).max() <= 0.5 + BAND


@MAPS
@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("shape", [(1, 1), (7, 255), (33, 700)])
def test_codes_are_the_nearest(rng, matrix, full_range, order, shape):
    pixels = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    pixels.setflags(write=False)
    channels = [pixels[..., order.index(name)] / 255 for name in "rgb"]
    planes = rgb_to_planes(pixels, order, matrix=matrix, full_range=full_range)
    for plane, value, level in zip(planes, from_rgb(*channels, matrix), levels_of(full_range), strict=True):
        assert plane.dtype == np.uint8 and plane.shape == shape
        require_rounded(plane, level.zero + level.span * value)

    codes = [rng.integers(0, 256, shape).astype(np.uint8) for _ in range(3)]
    values = [
        (plane.astype(float) - level.zero) / level.span
        for plane, level in zip(codes, levels_of(full_range), strict=True)
    ]
    found = planes_to_rgb(codes, order, matrix=matrix, full_range=full_range)
    assert found.dtype == np.uint8 and found.shape == (*shape, 3)
    for name, exact in zip("rgb", to_rgb(*values, matrix), strict=True):
        require_rounded(found[..., order.index(name)], 255 * exact)


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
def test_there_and_back_is_two_codes_away_at_most(rng, matrix):
    pixels = rng.integers(0, 256, (200, 300, 3)).astype(np.uint8)
    back = planes_to_rgb(rgb_to_planes(pixels, matrix=matrix), matrix=matrix)
    assert np.abs(back.astype(int) - pixels).max() <= 2
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    np.testing.assert_array_equal(planes_to_rgb(rgb_to_planes(grey, matrix=matrix), matrix=matrix), grey)


def test_slices_of_a_picture_are_pictures(rng):
    large = rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    part = large[3:37:2, 5:41]
    for plane, wanted in zip(rgb_to_planes(part), rgb_to_planes(part.copy()), strict=True):
        np.testing.assert_array_equal(plane, wanted)


def test_any_affine_map_is_taken_and_clipped(rng):
    pixels = rng.integers(0, 256, (5, 300, 3)).astype(np.uint8)
    weights, offsets = rng.normal(size=(3, 3)), rng.normal(scale=50, size=3)
    planes = [np.empty((5, 300), np.uint8) for _ in range(3)]
    _core.pixels_to_planes(pixels, weights.tolist(), offsets.tolist(), planes)
    exact = pixels @ weights.T + offsets
    for i, plane in enumerate(planes):
        require_rounded(plane, exact[..., i])
    assert min(plane.min() for plane in planes) == 0 and max(plane.max() for plane in planes) == 255


def test_arguments_are_checked():
    pixels, planes = np.zeros((4, 5, 3), np.uint8), [np.zeros((4, 5), np.uint8) for _ in range(3)]
    same = np.eye(3).tolist(), [0.0] * 3
    with pytest.raises(ValueError, match="pixels"):
        _core.pixels_to_planes(np.zeros((4, 5, 4), np.uint8), *same, planes)
    with pytest.raises(ValueError, match="second"):
        _core.planes_to_pixels([planes[0], planes[1][:3], planes[2]], *same, pixels)
    with pytest.raises(TypeError, match="pixels"):
        _core.pixels_to_planes(pixels.astype(np.float32), *same, planes)
    with pytest.raises(ValueError, match="matrix"):
        rgb_to_planes(pixels, matrix="rec709")
