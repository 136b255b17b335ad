# SPDX-License-Identifier: Apache-2.0
"""Luma and chroma: the standards' numbers, RGB there and back, and images purified plane by plane."""

import cases
import numpy as np
import pytest

import srdfast
from srdfast.planes import Levels, from_rgb, luma_of, to_rgb

torch = pytest.importorskip("torch")
from srdfast.networks import ResNet  # noqa: E402
from srdfast.planes import through_planes  # noqa: E402
from srdfast.purifier import Purifier  # noqa: E402
from srdfast.stages.learned import LearnedDictionaries  # noqa: E402
from srdfast.video.frames import FramePurifier  # noqa: E402

MATRICES = ("bt601", "bt709", "bt2020")


def one_channel_purifier(coder=None, **options):
    """A Purifier of four clusters of one-channel dictionaries, with an encoder of RGB."""
    torch.manual_seed(0)
    encoder = ResNet(depth=10, width=2, classes=2).eval()
    bank = cases.bank(np.random.default_rng(1), coder or srdfast.LISTA(1), latent=encoder.latent, channels=1)
    return Purifier(bank, encoder, image_size=32, **options).eval()


def pictures(count=2, height=38, width=45, seed=0):
    """Smooth random RGB, float32 [count, 3, height, width] in [0.2, 0.8]."""
    noise = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))
    return 0.2 + 0.6 * torch.nn.functional.avg_pool2d(noise, 3, 1, 1)


@pytest.mark.parametrize("matrix", MATRICES)
def test_colours_go_there_and_back(matrix):
    colours = np.random.default_rng(0).random((3, 50))
    luma, *chroma = from_rgb(*colours, matrix)
    np.testing.assert_allclose(to_rgb(luma, *chroma, matrix), colours, atol=1e-12)
    np.testing.assert_allclose(luma_of(colours[None], matrix)[0, 0], luma, atol=1e-12)
    assert np.abs(chroma).max() <= 0.5


def test_primaries_have_the_numbers_of_bt_709():
    np.testing.assert_allclose(from_rgb(1.0, 1.0, 1.0), (1, 0, 0), atol=1e-12)
    np.testing.assert_allclose(from_rgb(0.0, 0.0, 1.0)[:2], (0.0722, 0.5), atol=1e-12)
    np.testing.assert_allclose(from_rgb(1.0, 0.0, 0.0)[::2], (0.2126, 0.5), atol=1e-12)


@pytest.mark.parametrize(
    ("bit_depth", "full_range", "chroma", "levels"),
    [
        (8, False, False, (16, 219, 255)),
        (8, False, True, (128, 224, 255)),
        (8, True, False, (0, 255, 255)),
        (10, False, False, (64, 876, 1023)),
        (10, True, True, (512, 1023, 1023)),
    ],
)
def test_levels_are_those_of_the_standards(bit_depth, full_range, chroma, levels):
    assert Levels.of(bit_depth, full_range, chroma) == Levels(*levels)


def test_grey_images_pass_through_planes_unchanged():
    grey = pictures()[:, :1].repeat(1, 3, 1, 1)
    torch.testing.assert_close(through_planes(grey, lambda planes, n: planes), grey)


def test_only_fine_colour_is_lost_in_planes():
    images = pictures()
    passed = through_planes(images, lambda planes, n: planes)
    torch.testing.assert_close(luma_of(passed), luma_of(images))
    flat = images.mean((2, 3), keepdim=True).expand_as(images).contiguous()
    torch.testing.assert_close(through_planes(flat, lambda planes, n: planes), flat)


def test_planes_are_purified_each_with_its_image():
    shapes = []

    def note(planes, n):
        shapes.append((n, *planes.shape))
        return planes + torch.arange(len(planes))[:, None, None, None] % 2 * 0.1  # the second image alone

    images = pictures()
    apart = (through_planes(images, note) - images).abs().amax((1, 2, 3))
    assert sorted(shapes) == [(1, 2, 1, 38, 45), (2, 4, 1, 19, 23)]
    assert apart[1] > apart[0] + 0.05


def test_the_gradient_through_planes_is_that_of_differences():
    images = pictures(1, 6, 7).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: through_planes(x, lambda planes, n: planes.sin()), (images,))


def test_a_one_channel_purifier_takes_rgb():
    purifier, images = one_channel_purifier(), pictures()
    found, info = purifier.purify(images, return_info=True)
    assert found.shape == images.shape and info.atoms_used.shape == (2,)
    trained = LearnedDictionaries(purifier.bank)
    with torch.no_grad():
        torch.testing.assert_close(found, trained(images, info.clusters), atol=1e-5, rtol=0)
    assert purifier(images[:0]).shape == (0, 3, 38, 45)
    assert purifier(images[:, :1]).shape == (2, 1, 38, 45)
    with pytest.raises(ValueError, match="1 or 3"):
        purifier(images[:, :2])


def test_the_exact_gradient_of_rgb_is_that_of_differences():
    purifier = one_channel_purifier(grad_mode="exact")
    images = pictures(1, 16, 16).double().requires_grad_()
    clusters = torch.zeros(1, dtype=torch.int64)
    direction = torch.randn(images.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    purifier.purify(images, clusters=clusters).square().sum().backward()
    step = 1e-6 * direction
    with torch.no_grad():
        ahead, behind = (
            purifier.purify(images + sign * step, clusters=clusters).square().sum() for sign in (1, -1)
        )
    slope = float((images.grad * direction).sum())
    assert slope == pytest.approx(float(ahead - behind) / 2e-6, rel=1e-5)


def test_images_and_frames_are_purified_alike():
    purifier = one_channel_purifier()
    frames = FramePurifier(purifier, hysteresis=0)
    image = pictures(1, 80, 96)
    levels = [Levels.of(16, True, chroma) for chroma in (False, True, True)]  # 16 bits: hardly any rounding
    luma, *chroma = from_rgb(*image.split(1, 1))
    halves = [torch.nn.functional.avg_pool2d(plane, 2) for plane in chroma]
    planes = tuple(
        (level.zero + level.span * plane[0, 0]).round().numpy().astype(np.uint16)
        for level, plane in zip(levels, (luma, *halves), strict=True)
    )
    found = frames.purify(planes, bit_depth=16, full_range=True)
    wanted = purifier.purify(image, clusters=torch.tensor([frames.last.cluster]))
    apart = np.abs((found[0] - levels[0].zero) / levels[0].span - luma_of(wanted)[0, 0].numpy())
    assert apart[12:-12, 12:-12].max() < 0.002  # half of an 8-bit level; borders have fewer patches
