# SPDX-License-Identifier: Apache-2.0
"""The networks: shapes, files, and errors that name what is wrong."""

import numpy as np
import pytest
import torch

from srdfast.errors import ModelFormatError
from srdfast.files import load_tensors, save_tensors
from srdfast.folded import FoldedNetwork
from srdfast.networks import ResNet, build, load_network, save_network, tensors_of
from srdfast.straight import StraightNet


@pytest.fixture
def net():
    torch.manual_seed(0)
    return ResNet(depth=10, width=4, classes=3).eval()


@pytest.mark.parametrize(("depth", "stem", "side"), [(10, "small", 32), (18, "small", 16), (10, "large", 64)])
def test_shapes(depth, stem, side):
    net = ResNet(depth=depth, width=4, classes=5, stem=stem).eval()
    images = torch.rand(2, 3, side, side)
    latents = net.latents(images)
    assert latents.shape == (2, net.latent) == (2, 32)
    assert net(images).shape == (2, 5)
    torch.testing.assert_close(net(images), net.head(latents))


def test_depth_counts_the_weighted_layers():
    for depth in (10, 18):
        net = ResNet(depth=depth, width=4)
        weighted = [
            name for name, tensor in net.named_parameters() if tensor.ndim > 1 and "shortcut" not in name
        ]
        assert len(weighted) == depth


def test_images_are_normalised_inside(net):
    moved = ResNet(depth=10, width=4, classes=3, mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3)).eval()
    moved.load_state_dict(net.state_dict())
    images = torch.rand(2, 3, 32, 32)
    mean, std = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1), torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    torch.testing.assert_close(moved(images), net((images - mean) / std * 0.25 + 0.5), rtol=1e-4, atol=1e-4)


def test_save_and_load(net, tmp_path):
    save_network(tmp_path / "net.safetensors", net, {"note": "kept"})
    again = load_network(tmp_path / "net.safetensors")
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(net(images), again(images)) and not again.training
    assert again.spec == net.spec and build(net.spec).spec == net.spec
    assert load_tensors(tmp_path / "net.safetensors")[1]["note"] == "kept"


def test_half_precision_files_are_half_as_large(net, tmp_path):
    save_network(tmp_path / "full.safetensors", net)
    save_network(tmp_path / "half.safetensors", net, dtype="float16")
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.75 * sizes[1]
    images = torch.rand(2, 3, 32, 32)
    again = load_network(tmp_path / "half.safetensors")
    assert again.head.weight.dtype == torch.float32
    torch.testing.assert_close(net(images), again(images), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    "options", [{"depth": 11}, {"stem": "medium"}, {"std": (0.1,)}], ids=["depth", "stem", "std"]
)
def test_wrong_arguments_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ResNet(**options)


def test_files_that_are_no_networks(net, tmp_path):
    path = tmp_path / "net.safetensors"
    with pytest.raises(FileNotFoundError):
        load_network(path)
    save_tensors(path, {"x": np.zeros(1)}, {"kind": "other"})
    with pytest.raises(ModelFormatError, match="other"):
        load_network(path)
    save_network(path, net)
    tensors, metadata = load_tensors(path)
    for spec in (None, {**net.spec, "width": 5}, {**net.spec, "stem": "x"}, {"surprise": 1}):
        save_tensors(path, tensors, {**metadata, "spec": spec})
        with pytest.raises(ModelFormatError, match="specification"):
            load_network(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelFormatError):
        load_network(path)


@pytest.mark.parametrize(("depth", "stem", "side"), [(10, "small", 32), (18, "small", 16), (10, "large", 64)])
def test_the_folded_network_gives_the_same_latents(depth, stem, side):
    torch.manual_seed(1)
    net = ResNet(depth=depth, width=4, classes=3, stem=stem)
    for _ in range(3):
        net(torch.rand(8, 3, side, side))  # statistics that are not those of the start
    net.eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    fast, images = FoldedNetwork.of(net), torch.rand(5, 3, side, side)
    latents = fast.latents(images)
    torch.testing.assert_close(latents, net.latents(images), rtol=1e-4, atol=1e-5)
    assert not latents.requires_grad
    torch.testing.assert_close(fast(images), net(images), rtol=1e-4, atol=1e-5)
    slopes = [torch.autograd.functional.vjp(model, images, torch.ones(5, 3))[1] for model in (fast, net)]
    torch.testing.assert_close(*slopes, rtol=1e-3, atol=1e-5)
    with torch.no_grad():
        net.stem[0].weight.mul_(2)
        before["stem.0.weight"].mul_(2)
    assert torch.equal(fast.latents(images), latents), "it keeps copies"
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]), "the network itself is left alone"


def test_all_tensors_are_listed(net):
    expected = {id(tensor) for tensor in [*net.parameters(), *net.buffers()]}
    assert {id(tensor) for tensor in tensors_of(net)} == expected


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize(("kernel", "stem", "side"), [(3, 1, 32), (5, 1, 16), (3, 4, 96), (5, 4, 64)])
def test_a_network_without_shortcuts_halves_three_times_and_averages(kernel, stem, side, separable):
    net = StraightNet(4, classes=5, kernel=kernel, stem=stem, separable=separable).eval()
    images = torch.rand(2, 3, side, side)
    assert net.layers((images - net.mean) / net.std).shape == (2, 32, side // stem // 8, side // stem // 8)
    assert net(images).shape == (2, 5)


def test_separable_convolutions_take_a_fraction_of_the_weights():
    whole, parts = (
        sum(weights.numel() for weights in StraightNet(16, kernel=5, separable=separable).parameters())
        for separable in (False, True)
    )
    assert parts < whole / 10
