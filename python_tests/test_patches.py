# SPDX-License-Identifier: Apache-2.0
"""Patches out and back: torch's unfold, the flush border, and the average as the left inverse."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

import srdfast

GEOMETRIES = [  # channels, height, width, patch, stride
    (3, 32, 32, 8, 2),
    (3, 31, 33, 8, 2),
    (1, 8, 8, 8, 2),
    (3, 9, 20, 8, 3),
    (2, 8, 30, 8, 8),
    (3, 17, 15, 5, 4),
    (4, 6, 7, 1, 1),
    (3, 16, 16, 3, 3),
]


@pytest.mark.parametrize("channels, height, width, patch, stride", GEOMETRIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_reference_is_matched(rng, channels, height, width, patch, stride, dtype):
    images = rng.random((2, channels, height, width)).astype(dtype)
    patches = srdfast.extract_patches(images, patch=patch, stride=stride)
    assert patches.dtype == dtype
    np.testing.assert_array_equal(patches, reference.extract_patches(images, patch, stride))
    changed = patches * rng.random(patches.shape).astype(dtype)
    back = srdfast.average_patches(changed, (channels, height, width), patch=patch, stride=stride)
    expected = reference.average_patches(changed, (channels, height, width), patch, stride)
    np.testing.assert_allclose(back, expected, atol=1e-6)
    assert back.dtype == dtype and back.shape == images.shape


def test_torch_unfold_gives_the_same_patches_in_the_same_order(rng):
    torch = pytest.importorskip("torch")
    images = rng.random((2, 3, 20, 14)).astype(np.float32)
    theirs = torch.nn.functional.unfold(torch.from_numpy(images), 8, stride=2).transpose(1, 2).numpy()
    np.testing.assert_array_equal(srdfast.extract_patches(images, patch=8, stride=2), theirs)


def test_the_last_patch_is_flush_with_the_border():
    assert reference.positions(13, 8, 2) == [0, 2, 4, 5]
    images = np.arange(13 * 8, dtype=np.float32).reshape(1, 1, 13, 8)
    patches = srdfast.extract_patches(images, patch=8, stride=2)
    assert patches.shape == (1, 4, 64)
    np.testing.assert_array_equal(patches[0, :, 0] // 8, [0, 2, 4, 5])


@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.integers(1, 4),
    patch=st.integers(1, 9),
    more=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    stride=st.integers(1, 9),
)
def test_averaging_what_was_extracted_gives_the_image_back(seed, channels, patch, more, stride):
    stride = min(stride, patch)
    images = (
        np.random.default_rng(seed).random((1, channels, patch + more[0], patch + more[1])).astype(np.float32)
    )
    patches = srdfast.extract_patches(images, patch=patch, stride=stride)
    back = srdfast.average_patches(patches, images.shape[1:], patch=patch, stride=stride)
    np.testing.assert_allclose(back, images, rtol=2e-6)


def test_an_empty_batch_and_too_small_an_image():
    assert srdfast.extract_patches(np.zeros((0, 3, 16, 16), np.float32)).shape == (0, 25, 192)
    assert srdfast.average_patches(np.zeros((0, 25, 192), np.float32), (3, 16, 16)).shape == (0, 3, 16, 16)
    for shape in ((1, 3, 7, 16), (1, 3, 16, 7)):
        with pytest.raises(ValueError, match="image"):
            srdfast.extract_patches(np.zeros(shape, np.float32), patch=8, stride=2)
    for options in (
        {"stride": 9},
        {"stride": 0},
        {"patch": 0},
    ):  # a stride above the patch leaves pixels uncovered
        with pytest.raises(ValueError, match=next(iter(options))):
            srdfast.extract_patches(np.zeros((1, 3, 16, 16), np.float32), **options)
    with pytest.raises(ValueError, match="patches"):
        srdfast.average_patches(np.zeros((1, 24, 192), np.float32), (3, 16, 16))
