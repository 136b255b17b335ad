# SPDX-License-Identifier: Apache-2.0
"""The rivals do what the libraries that they stand for do."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import median_filter

import srdfast
from srdfast import pretrained, rivals

RIVALS = [
    rivals.jpeg(50),
    rivals.median(3),
    rivals.total_variation(0.1),
    rivals.low_band(5.0),
]


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Eight photographs, float32 [8, 3, 32, 32] in [0, 1]."""
    return pretrained.sample(8).tensors()[0]


def test_jpeg_is_pillows(images):
    pixels = np.rint(images[3].numpy() * 255).astype(np.uint8).transpose(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=75)
    expected = np.asarray(Image.open(file)).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(rivals.jpeg(75)(images)[3], expected, atol=1e-6)


def test_median_is_scipys(images):
    expected = median_filter(images[5, 1].numpy(), size=5, mode="reflect")
    np.testing.assert_array_equal(rivals.median(5)(images)[5, 1], expected)


def test_total_variation_falls_with_the_weight(images):
    def variation(x: torch.Tensor) -> torch.Tensor:  # [batch]
        return x.diff(dim=-1).abs().sum((1, 2, 3)) + x.diff(dim=-2).abs().sum((1, 2, 3))

    weak, strong = rivals.total_variation(0.02)(images), rivals.total_variation(0.2)(images)
    assert (variation(weak) < variation(images)).all()
    assert (variation(strong) < variation(weak)).all()


def test_total_variation_keeps_images_and_channels_apart(images):
    rival = rivals.total_variation(0.1)
    torch.testing.assert_close(rival(images)[2:3], rival(images[2:3]), atol=1e-6, rtol=0)
    changed = images.clone()
    changed[:, 0] = 0
    torch.testing.assert_close(rival(changed)[:, 1:], rival(images)[:, 1:], atol=1e-6, rtol=0)


def test_low_band_is_that_of_split(images):
    low, _ = srdfast.split(images.numpy(), 3.0)
    np.testing.assert_array_equal(rivals.low_band(3.0)(images), np.clip(low, 0, 1))


@pytest.mark.parametrize("rival", RIVALS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_kind_shape_and_range_stay(rival, dtype, images):
    before = images.to(dtype)
    after = rival(before)
    assert (after.dtype, after.shape, after.device) == (before.dtype, before.shape, before.device)
    assert 0 <= float(after.min()) and float(after.max()) <= 1
    assert not torch.equal(after, before)
    assert torch.equal(before, images.to(dtype))


@pytest.mark.parametrize("rival", RIVALS)
def test_an_empty_batch_and_odd_sizes_pass(rival):
    assert rival(torch.zeros(0, 3, 32, 32)).shape == (0, 3, 32, 32)
    assert rival(torch.rand(2, 3, 17, 23)).shape == (2, 3, 17, 23)


@pytest.mark.parametrize(
    "bad", [torch.zeros(3, 8, 8), torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, 8, 8).byte()]
)
def test_other_inputs_are_refused(bad):
    with pytest.raises(ValueError, match="images: expected a float tensor"):
        rivals.jpeg()(bad)


@pytest.mark.parametrize(
    ("make", "value", "name"),
    [(rivals.jpeg, 0, "quality"), (rivals.median, 2, "size"), (rivals.total_variation, 0.0, "weight")],
)
def test_settings_out_of_range_are_refused(make, value, name):
    with pytest.raises(ValueError, match=f"{name}: expected"):
        make(value)
