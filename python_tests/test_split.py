# SPDX-License-Identifier: Apache-2.0
"""The Tikhonov split: the cosine-transform reference, SPORCO, and what must hold for any image."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

import srdfast

SIZES = [(1, 1), (1, 7), (7, 1), (2, 2), (2, 3), (5, 8), (31, 33), (32, 32), (64, 17), (97, 101)]
LARGER_SIZES = [
    *[(1, 4096), (4096, 1), (3, 1000), (1000, 3)],  # lines
    *[(27, 40), (40, 27), (64, 48), (45, 128), (70, 360), (33, 1080)],  # products of small primes
    *[(31, 37), (37, 31), (8, 113), (16, 13 * 17), (5, 61 * 64)],  # prime factors of a radix of their own
    *[(9, 127), (131, 257), (4, 2 * 509), (3, 1031)],  # prime factors that need a convolution
    *[(256, 512), (300, 260)],  # planes that several threads share
]


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


@pytest.mark.parametrize("size", LARGER_SIZES, ids=str)
@pytest.mark.parametrize("dtype, atol", [(np.float32, 2e-6), (np.float64, 1e-13)])
def test_the_cosine_reference_is_matched_at_larger_sizes(rng, size, dtype, atol):
    images = rng.random((1, 2, *size)).astype(dtype)
    for strength in (0.0, 5.0, 1e4):
        low, high = srdfast.split(images, strength=strength)
        np.testing.assert_allclose(low, reference.split(images, strength)[0], atol=atol)
        assert_adds_up(images, low, high)


@pytest.mark.parametrize("width", range(1, 140))
def test_every_width_is_transformed_exactly(rng, width):
    """Without strength both transforms undo each other; with it, they meet the reference."""
    images = rng.random((1, 1, 5, width))
    for strength in (0.0, 5.0):
        low, _ = srdfast.split(images, strength)
        np.testing.assert_allclose(low, reference.split(images, strength)[0], atol=1e-13)


@pytest.mark.parametrize("size", [(24, 30), (61, 300), (300, 61)], ids=str)
def test_a_cosine_is_scaled_by_its_gain(size):
    """Half-sample cosines are the eigenvectors: high and low are multiples of the image."""
    height, width = size
    for row, column in ((0, 0), (0, 1), (1, 0), (3, 5), (height - 1, width - 1)):
        across = np.cos(np.pi * column * (np.arange(width) + 0.5) / width)
        down = np.cos(np.pi * row * (np.arange(height) + 0.5) / height)
        image = down[:, None] * across
        eigenvalue = 4 - 2 * np.cos(np.pi * row / height) - 2 * np.cos(np.pi * column / width)
        for strength in (0.1, 5.0, 1e5):
            low, _ = srdfast.split(image, strength)
            np.testing.assert_allclose(low, image / (1 + strength * eigenvalue), atol=1e-13)


@pytest.mark.parametrize("size", [(17, 40), (130, 263), (260, 300)], ids=str)
@pytest.mark.parametrize("strength", [0.5, 5.0, 1e6])
def test_turning_the_image_turns_its_bands(rng, size, strength):
    """The filter knows no direction: it commutes with the reflections and with the transpose."""
    image = rng.random(size)
    low, _ = srdfast.split(image, strength)
    for turn in (np.flipud, np.fliplr, np.transpose):
        turned, _ = srdfast.split(np.ascontiguousarray(turn(image)), strength)
        np.testing.assert_allclose(turned, turn(low), atol=1e-12)


@pytest.mark.parametrize("dtype, slack", [(np.float32, 2e-6), (np.float64, 1e-13)])
def test_the_low_band_stays_between_the_extremes_and_keeps_the_mean(rng, dtype, slack):
    image = rng.random((203, 331)).astype(dtype)
    for strength in (0.5, 50.0, 1e4, 1e9):
        low, _ = srdfast.split(image, strength)
        assert image.min() - slack <= low.min() and low.max() <= image.max() + slack
        assert abs(np.mean(low, dtype=np.float64) - np.mean(image, dtype=np.float64)) <= slack


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
@pytest.mark.parametrize("size", [(21, 18), (300, 262)], ids=str)
def test_a_constant_image_has_no_high_band(value, size):
    images = np.full((1, 3, *size), value, np.float32)
    low, high = srdfast.split(images)
    np.testing.assert_allclose(high, 0, atol=2e-6)
    np.testing.assert_allclose(low, value, atol=2e-6)


def test_strength_zero_keeps_everything_in_the_low_band(rng):
    images = rng.random((1, 3, 16, 16)).astype(np.float32)
    _, high = srdfast.split(images, strength=0.0)
    np.testing.assert_allclose(high, 0, atol=2e-6)


@pytest.mark.parametrize("size", [(16, 20), (270, 300)], ids=str)
def test_every_channel_is_split_alone(rng, size):
    images = rng.random((3, 3, *size)).astype(np.float32)
    low, high = srdfast.split(images)
    for batch in range(3):
        for channel in range(3):
            alone = srdfast.split(images[batch : batch + 1, channel : channel + 1])
            np.testing.assert_array_equal(alone[0][0, 0], low[batch, channel])
            np.testing.assert_array_equal(alone[1][0, 0], high[batch, channel])


@pytest.mark.parametrize("size", [(40, 61), (300, 131), (290, 512)], ids=str)
def test_the_thread_count_changes_no_bit(rng, size):
    images = rng.random((1, 9, *size)).astype(np.float32)
    before, answers = srdfast.get_num_threads(), []
    for count in (1, 2, 5):
        srdfast.set_num_threads(count)
        answers.append(srdfast.split(images))
    srdfast.set_num_threads(before)
    for low, high in answers[1:]:
        np.testing.assert_array_equal(low, answers[0][0])
        np.testing.assert_array_equal(high, answers[0][1])


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


@pytest.mark.parametrize("size", [(3, 2000), (2000, 3), (150, 333)], ids=str)
@pytest.mark.parametrize("dtype, atol", [(np.float32, 5e-6), (np.float64, 1e-12)])
def test_a_huge_strength_meets_the_reference(rng, size, dtype, atol):
    """Where the low band reaches across the whole image, rounding must not add up along it."""
    image = rng.random(size).astype(dtype)
    for strength in (1e5, 1e7, 1e9):
        low, high = srdfast.split(image, strength)
        np.testing.assert_allclose(low, reference.split(image, strength)[0], atol=atol)
        assert_adds_up(image, low, high)


def test_a_strength_beyond_the_range_is_refused(rng):
    with pytest.raises(ValueError, match="strength"):
        srdfast.split(rng.random((1, 1, 4, 4)), 1e10)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_the_bands_may_be_written_into_arrays_of_the_caller(rng, kind):
    images = rng.random((2, 3, 9, 11)).astype(np.float32)
    if kind == "torch":
        torch = pytest.importorskip("torch")
        images = torch.from_numpy(images)
    expected = srdfast.split(images)
    out = images * 0, images * 0
    returned = srdfast.split(images, out=out)
    assert returned[0] is out[0] and returned[1] is out[1]
    for ours, theirs in zip(out, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_arrays_that_cannot_hold_the_bands_are_refused(rng):
    images = rng.random((2, 3, 9, 11)).astype(np.float32)
    good = np.empty_like(images)
    for bad in (good[:1], good.astype(np.float64), good.transpose(0, 1, 3, 2), [1.0], None):
        with pytest.raises(ValueError, match="out: expected ndarray of float32 and shape"):
            srdfast.split(images, out=(good, bad))
    with pytest.raises(ValueError, match="out: expected contiguous"):
        srdfast.split(images, out=(good, np.empty((2, 3, 9, 22), np.float32)[..., ::2]))
    for bad in (good, (good,), 3):
        with pytest.raises(TypeError, match="out: expected a pair"):
            srdfast.split(images, out=bad)
    good.flags.writeable = False
    with pytest.raises(ValueError, match="low: expected a writable array"):
        srdfast.split(images, out=(good, np.empty_like(images)))
