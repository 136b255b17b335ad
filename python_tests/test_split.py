# SPDX-License-Identifier: Apache-2.0
"""The Tikhonov split: the cosine-transform reference, SPORCO, and what must hold for any image."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

import srdfast

SIZES = [(1, 1), (1, 7), (7, 1), (2, 2), (2, 3), (5, 8), (31, 33), (32, 32), (64, 17), (97, 101)]


def assert_adds_up(images, low, high):
    """low + high == images up to one rounding."""
    ulp = np.finfo(images.dtype).eps
    assert np.all(np.abs((low + high) - images) <= ulp * np.maximum(np.abs(images), np.abs(low)))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype, atol", [(np.float32, 2e-6), (np.float64, 1e-13)])
def test_the_cosine_reference_is_matched_at_any_size(rng, size, dtype, atol):
    images = rng.random((2, 3, *size)).astype(dtype)
    for strength in (0.0, 0.5, 5.0, 300.0):
        low, high = srdfast.split(images, strength=strength)
        assert low.shape == high.shape == images.shape and low.dtype == high.dtype == dtype
        expected_low, expected_high = reference.split(images, strength)
        np.testing.assert_allclose(low, expected_low, atol=atol)
        np.testing.assert_allclose(high, expected_high, atol=atol)
        assert_adds_up(images, low, high)


def test_leading_dimensions_are_free(rng):
    images = rng.random((2, 3, 12, 10)).astype(np.float32)
    low, _ = srdfast.split(images)
    np.testing.assert_array_equal(srdfast.split(images[0, 0])[0], low[0, 0])
    np.testing.assert_array_equal(srdfast.split(images[0])[0], low[0])
    np.testing.assert_array_equal(srdfast.split(images[None])[0], low[None])
    assert srdfast.split(images[:0])[1].shape == (0, 3, 12, 10)


def test_the_low_band_solves_the_minimisation(rng):
    image = rng.random((9, 13))
    low, _ = srdfast.split(image, strength=5.0)
    slope = (
        low - image
    )  # the gradient of the objective: u - x + strength * (sum of differences to the neighbours)
    for axis in (0, 1):
        step = 5.0 * np.diff(low, axis=axis)
        nothing = np.zeros_like(np.take(low, [0], axis))
        slope += np.concatenate([nothing, step], axis) - np.concatenate([step, nothing], axis)
    np.testing.assert_allclose(slope, 0, atol=1e-12)


def test_sporco_agrees_inside(rng):
    signal = pytest.importorskip("sporco.signal")
    image = rng.random((64, 48))
    theirs, _ = signal.tikhonov_filter(image, 5, npd=16)  # [height, width]; a padded periodic transform
    for dtype in (np.float32, np.float64):
        ours, _ = srdfast.split(image.astype(dtype), strength=5.0)
        np.testing.assert_allclose(ours[8:-8, 8:-8], theirs[8:-8, 8:-8], atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.3])
def test_a_constant_image_has_no_high_band(value):
    images = np.full((1, 3, 21, 18), value, np.float32)
    low, high = srdfast.split(images)
    np.testing.assert_allclose(high, 0, atol=2e-6)
    np.testing.assert_allclose(low, value, atol=2e-6)


def test_strength_zero_keeps_everything_in_the_low_band(rng):
    images = rng.random((1, 3, 16, 16)).astype(np.float32)
    _, high = srdfast.split(images, strength=0.0)
    np.testing.assert_allclose(high, 0, atol=2e-6)


def test_every_channel_is_split_alone(rng):
    images = rng.random((3, 3, 16, 20)).astype(np.float32)
    low, high = srdfast.split(images)
    for batch in range(3):
        for channel in range(3):
            alone = srdfast.split(images[batch : batch + 1, channel : channel + 1])
            np.testing.assert_array_equal(alone[0][0, 0], low[batch, channel])
            np.testing.assert_array_equal(alone[1][0, 0], high[batch, channel])


@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    strength=st.floats(0, 100),
)
def test_any_image_is_split_as_the_reference_does(seed, height, width, strength):
    images = np.random.default_rng(seed).random((1, 2, height, width)).astype(np.float32)
    low, high = srdfast.split(images, strength=strength)
    np.testing.assert_allclose(low, reference.split(images, strength)[0], atol=2e-6)
    assert_adds_up(images, low, high)
    np.testing.assert_allclose(np.mean(high, axis=(2, 3)), 0, atol=1e-6)  # the mean is low


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("strength", [1e6, 1e9])
def test_a_huge_strength_leaves_the_mean(rng, strength, dtype):
    """As the strength grows, the low band becomes the mean of the image."""
    image = rng.random((1, 1, 9, 14)).astype(dtype)
    low, _ = srdfast.split(image, strength)
    np.testing.assert_allclose(low, np.full_like(low, image.mean()), atol=2e-5)


def test_a_strength_beyond_the_range_is_refused(rng):
    with pytest.raises(ValueError, match="strength"):
        srdfast.split(rng.random((1, 1, 4, 4)), 1e10)
