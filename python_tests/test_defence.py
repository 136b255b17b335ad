# SPDX-License-Identifier: Apache-2.0
"""Images that go through the purification of frames."""

import cases
import numpy as np
import pytest

import srdfast

torch = pytest.importorskip("torch")
from srdfast.planes import through_planes  # noqa: E402
from srdfast.video.defence import image_of, planes_of, through_frames  # noqa: E402
from srdfast.video.frames import FramePurifier  # noqa: E402


def pictures(count=3, height=50, width=47):
    noise = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))
    return 0.2 + 0.6 * torch.nn.functional.avg_pool2d(noise, 3, 1, 1)


def test_there_and_back_costs_only_fine_colour_and_rounding():
    images = pictures()
    found = through_frames(None)(images)
    assert found.shape == images.shape
    assert (found - through_planes(images, lambda planes, n: planes)).abs().max() < 2 / 219


def test_planes_are_those_of_4_2_0():
    planes = planes_of(pictures()[0])
    assert [plane.shape for plane in planes] == [(50, 47), (25, 24), (25, 24)]
    white = planes_of(torch.ones(3, 4, 4))
    assert [int(plane[0, 0]) for plane in white] == [235, 128, 128]
    torch.testing.assert_close(image_of(white, torch.Size([4, 4])), torch.ones(3, 4, 4))


def test_every_image_is_purified_as_a_first_frame():
    bank = cases.bank(np.random.default_rng(0), srdfast.LISTA(1), clusters=1, channels=1)
    purifier, images = FramePurifier(bank), pictures()
    together = through_frames(purifier)(images)
    for image, found in zip(images, together, strict=True):
        planes = FramePurifier(bank).purify(planes_of(image))
        torch.testing.assert_close(found, image_of(planes, image.shape[1:]), atol=0, rtol=0)
    assert through_frames(purifier)(images[:0]).shape == (0, 3, 50, 47)
