# SPDX-License-Identifier: Apache-2.0
"""The corruptions: as defined, worse with severity, the same for a seed."""

import numpy as np
import pytest
import torch

from srdfast import pretrained
from srdfast.attacks import CORRUPTIONS
from srdfast.attacks.corruptions import _disk


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Sixteen photographs, float32 [16, 3, 32, 32] in [0, 1]."""
    return pretrained.sample(16).tensors()[0]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_range_kind_seed_and_severity(name, images):
    corrupt = CORRUPTIONS[name]
    found = [corrupt(images, severity, seed=4) for severity in range(1, 6)]
    for view in found:
        assert view.shape == images.shape and view.dtype == images.dtype
        assert 0 <= view.min() and view.max() <= 1
    damage = [float((view - images).square().mean()) for view in found]
    assert 0 < damage[0] < damage[-1] and damage == sorted(damage)
    assert torch.equal(found[2], corrupt(images, seed=4))
    assert corrupt(images[:0]).shape == (0, 3, 32, 32)
    with pytest.raises(ValueError, match="severity: expected 1 to 5"):
        corrupt(images, 6)


def test_noise_has_its_deviation(images):
    grey = torch.full_like(images, 0.5)
    noise = CORRUPTIONS["gaussian_noise"](grey, 3, seed=1) - grey
    assert float(noise.std()) == pytest.approx(0.08, rel=0.02)
    shot = CORRUPTIONS["shot_noise"](grey, 5, seed=1) - grey
    assert float(shot.std()) == pytest.approx((0.5 / 50) ** 0.5, rel=0.02)
    impulse = CORRUPTIONS["impulse_noise"](grey, 4, seed=1)
    assert float((impulse != 0.5).float().mean()) == pytest.approx(0.05, rel=0.05)


def test_brightness_is_that_of_skimage(images):
    from skimage.color import hsv2rgb, rgb2hsv

    hsv = rgb2hsv(images[0].permute(1, 2, 0).double().numpy())
    hsv[..., 2] = np.clip(hsv[..., 2] + 0.15, 0, 1)
    found = CORRUPTIONS["brightness"](images[:1], 3)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, hsv2rgb(hsv), atol=1e-5)
    black = torch.zeros(1, 3, 4, 4)
    assert torch.equal(CORRUPTIONS["brightness"](black, 5), torch.full_like(black, 0.3))


def test_contrast_and_blur_keep_the_mean(images):
    faded = CORRUPTIONS["contrast"](images, 2)
    torch.testing.assert_close(faded.mean((2, 3)), images.mean((2, 3)), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        faded - faded.mean((2, 3), keepdim=True), 0.5 * (images - images.mean((2, 3), keepdim=True))
    )
    for radius, smoothing in ((0.5, 0.6), (1.5, 0.1)):
        kernel = _disk(radius, smoothing)
        assert kernel.sum() == pytest.approx(1) and np.array_equal(kernel, kernel.T)
    assert np.count_nonzero(_disk(1.0, 0.01) > 1e-6) == 5  # a disk of radius 1: the centre and its neighbours
