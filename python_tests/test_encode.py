# SPDX-License-Identifier: Apache-2.0
"""The operator `encode`: latents of residual networks, beside torch in float64."""

import copy

import numpy as np
import pytest

import srdfast
from srdfast import _core

torch = pytest.importorskip("torch")
from srdfast.folded import FoldedNetwork  # noqa: E402
from srdfast.networks import ResNet  # noqa: E402


def network(depth=10, width=16, stem="small", channels=3):
    """A network whose normalisations have seen images and whose biases are not zero."""
    torch.manual_seed(depth + width)
    mean, std = [0.3, 0.5, 0.4][:channels], [0.2, 0.25, 0.3][:channels]
    net = ResNet(depth, width, classes=3, stem=stem, mean=mean, std=std)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
    net(torch.rand(16, channels, 33, 33))
    return net.eval()


def encode(net, images):
    latents = torch.full((len(images), net.latent), torch.nan)
    _core.encode(images, FoldedNetwork.of(net).packed(), latents)
    return latents


@torch.no_grad()
def error(net, images):
    """The largest error of a latent, as a share of the largest latent."""
    expected = copy.deepcopy(net).double().latents(images.double())
    return float((encode(net, images) - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("size", [(32, 32), (1, 1), (2, 9), (13, 30), (35, 17), (64, 40)])
@pytest.mark.parametrize(
    ("depth", "width", "stem"), [(10, 16, "small"), (18, 8, "small"), (10, 5, "large"), (18, 24, "large")]
)
def test_the_latents_are_those_of_the_network(depth, width, stem, size):
    net = network(depth, width, stem)
    assert error(net, torch.rand(5, 3, *size)) < 3e-6


def test_grey_images():
    assert error(network(width=8, channels=1), torch.rand(3, 1, 32, 32)) < 3e-6


@torch.no_grad()
def test_it_is_as_exact_as_torch_in_float32():
    net, images = network(18, 16), torch.rand(64, 3, 32, 32)
    exact = copy.deepcopy(net).double().latents(images.double())
    ours, theirs = ((found - exact).abs().max() for found in (encode(net, images), net.latents(images)))
    assert ours < 8 * theirs  # tiles of 4 x 4 cost some of the last bits


def test_an_image_has_the_same_bits_in_every_batch():
    net, images = network(18, 16), torch.rand(70, 3, 32, 32)
    together = encode(net, images)
    before = srdfast.get_num_threads()
    try:
        for threads in (1, 2, 3):
            srdfast.set_num_threads(threads)
            for start, stop in ((0, 70), (0, 1), (3, 5), (7, 40), (69, 70)):
                assert torch.equal(encode(net, images[start:stop]), together[start:stop])
    finally:
        srdfast.set_num_threads(before)


def test_no_images():
    assert encode(network(), torch.rand(0, 3, 32, 32)).shape == (0, 128)


LEVEL_PROGRAM = """
import json, torch
from test_encode import encode, network
torch.manual_seed(3)
images = torch.rand(4, 3, 21, 30)
print(json.dumps([encode(network(10, 8, stem), images).tolist() for stem in ("small", "large")]))
"""


def test_every_cpu_level_gives_the_same_answer(of_every_level):
    first, *others = of_every_level(LEVEL_PROGRAM)
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("images", "latents", "message"),
    [
        ((2, 1, 32, 32), (2, 128), "images.*channels of the network"),
        ((2, 3, 32), (2, 128), r"images.*\[batch, channels, height, width\]"),
        ((2, 3, 0, 32), (2, 128), "images.*from 1 to 2\\^15 rows and columns"),
        ((2, 3, 32, 32), (3, 128), "latents.*one an image"),
        ((2, 3, 32, 32), (2, 64), "latents.*latent features of the network"),
    ],
)
def test_shapes_that_do_not_fit_are_named(images, latents, message):
    with pytest.raises(ValueError, match=message):
        _core.encode(torch.zeros(images), FoldedNetwork.of(network()).packed(), torch.zeros(latents))


def test_nan_is_named():
    images = torch.rand(3, 3, 32, 32)
    images[1, 2, 3, 4] = torch.nan
    with pytest.raises(ValueError, match="images: expected finite values"):
        encode(network(), images)


def convolution(outputs, inputs, kernel=3, stride=1):
    return torch.ones(outputs, inputs, kernel, kernel), torch.zeros(outputs), stride


STEM = convolution(4, 3)
IDENTITY = (convolution(4, 4), convolution(4, 4), None)
WIDER = (convolution(8, 4, stride=2), convolution(8, 8), convolution(8, 4, 1))
SHORTCUT = (*IDENTITY[:2], convolution(4, 4, 1))


@pytest.mark.parametrize(
    ("stem", "blocks", "message"),
    [
        (convolution(4, 2), [IDENTITY], "stem.*features of what it sees"),
        (convolution(4, 3, 2), [IDENTITY], "stem.*an odd kernel"),
        (convolution(4, 3, stride=3), [IDENTITY], "stem: expected stride 1 or 2"),
        (STEM, [], "blocks: expected at least one"),
        (STEM, [(convolution(8, 4), convolution(8, 8), None)], r"blocks.*same shape"),
        (STEM, [(convolution(4, 4, stride=2), convolution(4, 4), None)], r"blocks.*same shape"),
        (STEM, [WIDER], r"blocks.*same shape"),
        (STEM, [SHORTCUT] * 16, "at most 15 shortcuts"),
    ],
)
def test_a_network_that_does_not_fit_together_is_refused(stem, blocks, message):
    with pytest.raises(ValueError, match=message):
        _core.PackedNetwork(torch.zeros(3), torch.ones(3), stem, False, blocks)


@pytest.mark.parametrize("bias", [torch.zeros(3), torch.zeros(4, 1), torch.tensor(0.0)])
def test_a_bias_of_another_shape_is_refused(bias):
    block = (convolution(4, 4), convolution(4, 4), None)
    with pytest.raises(ValueError, match="stem"):
        _core.PackedNetwork(torch.zeros(3), torch.ones(3), (torch.ones(4, 3, 3, 3), bias, 1), False, [block])


def test_weights_that_are_not_finite_are_refused():
    weight, bias, stride = convolution(4, 3)
    weight[1, 2, 0, 0] = torch.inf
    block = (convolution(4, 4), convolution(4, 4), None)
    with pytest.raises(ValueError, match="stem"):
        _core.PackedNetwork(torch.zeros(3), torch.ones(3), (weight, bias, stride), False, [block])
    with pytest.raises(ValueError, match="std"):
        _core.PackedNetwork(torch.zeros(3), torch.ones(2), convolution(4, 3), False, [block])
