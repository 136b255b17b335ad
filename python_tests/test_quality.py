# SPDX-License-Identifier: Apache-2.0
"""The measures of a purified clip: known changes give known numbers."""

import math

import numpy as np
import pytest

pytest.importorskip("skimage")
from srdfast.video.quality import measure

SHAPE = (24, 32)


def flat(code):
    return np.full(SHAPE, code, np.uint8)


def test_what_is_unchanged_is_perfect():
    quality = measure([(flat(90), flat(90))] * 3)
    assert quality.psnr == math.inf and quality.ssim == pytest.approx(1)
    assert (quality.frames, quality.change, quality.flicker) == (3, 0, 0)


def test_a_steady_change_does_not_flicker():
    quality = measure([(flat(90), flat(93)), (flat(60), flat(63))])
    assert quality.psnr == pytest.approx(20 * math.log10(255 / 3))
    assert quality.change == 3 and quality.flicker == 0


def test_an_alternating_change_flickers():
    quality = measure([(flat(90), flat(92)), (flat(90), flat(88)), (flat(90), flat(92))])
    assert quality.change == 2 and quality.flicker == 4


def test_noise_lowers_the_similarity():
    source = np.random.default_rng(0)
    clean = source.integers(60, 200, SHAPE).astype(np.uint8)
    a_little, a_lot = (clean + source.integers(0, most, SHAPE).astype(np.uint8) for most in (3, 40))
    assert 1 > measure([(clean, a_little)]).ssim > measure([(clean, a_lot)]).ssim
    assert math.isnan(measure([(clean, a_lot)]).flicker)


def test_planes_are_checked():
    with pytest.raises(ValueError, match="at least one frame"):
        measure([])
    with pytest.raises(ValueError, match="uint8"):
        measure([(flat(1), flat(1)[:-1])])
