# SPDX-License-Identifier: Apache-2.0
"""Clusters chosen by a screening in bfloat16 are those that float32 chooses."""

import copy
import dataclasses
import pickle
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import cases
import numpy as np
import pytest

import srdfast

torch = pytest.importorskip("torch")
from srdfast import encoding, pretrained  # noqa: E402
from srdfast.clusters import Gaussians  # noqa: E402
from srdfast.encoding import Encoding  # noqa: E402
from srdfast.folded import FoldedNetwork  # noqa: E402
from srdfast.networks import ResNet  # noqa: E402


@pytest.fixture(autouse=True)
def one_torch_thread():
    torch.set_num_threads(1)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return ResNet(depth=10, width=4, classes=2).eval()


@pytest.fixture
def images(rng):
    """Smooth and rough images [200, 3, 16, 16] in [0, 1]."""
    coarse = torch.from_numpy(rng.random((200, 3, 4, 4)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear")
    rough = torch.from_numpy(rng.random((200, 3, 16, 16)).astype(np.float32))
    return smooth.lerp(rough, torch.linspace(0, 1, 200).view(-1, 1, 1, 1))


def spread(latents, clusters=6):
    """Gaussians around some of the latents."""
    means = latents[:: len(latents) // clusters][:clusters]
    variances = np.broadcast_to(latents.var(0) + 1e-4, means.shape).astype(np.float32)
    return Gaussians(
        means, variances, np.full(clusters, -np.log(clusters), np.float32), np.arange(clusters) % 2
    )


def close(latents, rng):
    """Pairs of Gaussians whose borders pass next to some of the latents, in float32's sight."""
    middles = latents[::20] * (1 + 1e-3 * rng.standard_normal((len(latents[::20]), latents.shape[1])))
    apart = 0.05 * latents.std(0) * rng.standard_normal(middles.shape)
    means = np.concatenate([middles + apart, middles - apart]).astype(np.float32)
    variances = np.broadcast_to(latents.var(0) + 1e-4, means.shape).astype(np.float32)
    count = len(means)
    return Gaussians(means, variances, np.full(count, -np.log(count), np.float32), np.arange(count) % 2)


def latents_of(encoder, images):
    return Encoding(spread(np.eye(encoder.latent, dtype=np.float32)), "product", None, False).latents(
        encoder, images
    )


def both(gaussians):
    return [Encoding(gaussians, "product", None, screening) for screening in (False, True)]


def coarse_choices(encoder, images, gaussians):
    """What the latents in bfloat16 choose, and which of it is sure."""
    coarse = FoldedNetwork.of(encoder).bfloat16()
    with torch.no_grad():
        latents = coarse.latents(images)
    best, sure = encoding._Screen(gaussians)(latents)
    return best.numpy(), sure.numpy()


def test_far_clusters_are_chosen_without_a_second_look(encoder, images):
    gaussians = spread(latents_of(encoder, images))
    plain, screened = both(gaussians)
    np.testing.assert_array_equal(screened.clusters(encoder, images), plain.clusters(encoder, images))
    assert coarse_choices(encoder, images, gaussians)[1].mean() > 0.5


def test_close_clusters_are_chosen_as_float32_does(encoder, images, rng):
    gaussians = close(latents_of(encoder, images), rng)
    plain, screened = both(gaussians)
    expected = plain.clusters(encoder, images).numpy()
    coarse, sure = coarse_choices(encoder, images, gaussians)
    assert (coarse != expected).any()  # bfloat16 alone would not do
    assert not sure[coarse != expected].any()
    np.testing.assert_array_equal(screened.clusters(encoder, images), expected)


def test_equal_clusters_go_to_the_first(encoder, images):
    one = spread(latents_of(encoder, images), 1)
    twice = Gaussians(*(np.repeat(getattr(one, name), 2, axis=0) for name in vars(one)))
    for encoding_ in both(twice):
        assert (encoding_.clusters(encoder, images) == 0).all()


@torch.no_grad()
def test_the_error_of_the_shipped_encoder_is_far_below_the_bound():
    defence = srdfast.Purifier.from_pretrained("cifar10", screening=True)
    pictures = pretrained.sample(200).tensors()[0]
    coarse = FoldedNetwork.of(defence.encoder).bfloat16()
    fine, rough = torch.from_numpy(defence._latents(pictures)), coarse.latents(pictures)
    screen = encoding._Screen(defence.bank.gaussians)
    change = (fine - rough).double()
    slopes = (rough[:, None] - screen._means) * screen._precisions
    apart = slopes[:, :, None] - slopes[:, None]  # [images, clusters, clusters, latent]
    scale = (apart * (rough.abs() + screen._least)[:, None, None]).norm(dim=3)
    moved = (apart.double() * change[:, None, None]).sum(3).abs()
    assert (moved <= encoding.SCREENING_ERROR / 2 * scale).all()
    plain = srdfast.Purifier.from_pretrained("cifar10", screening=False)
    np.testing.assert_array_equal(defence.assign(pictures), plain.assign(pictures))


def purifier(encoder, images, screening):
    bank = cases.bank(np.random.default_rng(3), latent=encoder.latent, clusters=6)
    bank = dataclasses.replace(bank, gaussians=spread(latents_of(encoder, images)))
    return srdfast.Purifier(bank, encoder, screening=screening).eval()


def test_screening_follows_the_weights(encoder, images):
    defence = purifier(encoder, images, True)
    before = defence.assign(images)
    with torch.no_grad():
        encoder.stem[0].weight.mul_(-1.5)
    after = defence.assign(images)
    assert not torch.equal(before, after)
    assert torch.equal(after, purifier_like(defence, False).assign(images))
    with torch.no_grad():
        defence.encoder.double()  # nothing to gain: the plain way
    assert torch.equal(defence.assign(images), after)


def purifier_like(defence, screening):
    return srdfast.Purifier(defence.bank, defence.encoder, screening=screening).eval()


def test_many_threads_screen_as_one_does(encoder, images):
    defence = purifier(encoder, images, True)
    expected = purifier_like(defence, False).assign(images)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: defence.assign(images), range(24)):
            assert torch.equal(found, expected)


def test_copies_screen_with_their_own_weights(encoder, images):
    defence = purifier(encoder, images, True)
    expected = defence.assign(images)
    for twin in (copy.deepcopy(defence), pickle.loads(pickle.dumps(defence))):
        assert torch.equal(twin.assign(images), expected)
        with torch.no_grad():
            twin.encoder.stem[0].weight.mul_(-1.5)
        assert not torch.equal(twin.assign(images), expected)
        assert torch.equal(defence.assign(images), expected)


def test_likelihoods_and_pixels_are_those_of_float32(encoder, images):
    defence = purifier(encoder, images, True)
    plain = purifier_like(defence, False)
    clean, info = defence.purify(images, return_info=True)
    expected, plainly = plain.purify(images, return_info=True)
    assert torch.equal(info.log_likelihood, plainly.log_likelihood)
    assert torch.equal(info.clusters, plainly.clusters)
    assert torch.equal(clean, expected)
    assert torch.equal(defence.purify(images), expected)


@pytest.mark.parametrize("screening", [None, False, True])
@pytest.mark.parametrize("tiles", [False, True])
def test_screening_can_be_switched(encoder, images, monkeypatch, screening, tiles):
    defence, batches = purifier(encoder, images, screening), []
    honest = encoding._Screen.__call__
    monkeypatch.setattr(encoding, "has_bfloat16_tiles", lambda: tiles)
    monkeypatch.setattr(encoding._Screen, "__call__", lambda *args: batches.append(1) or honest(*args))
    defence.assign(images)
    assert bool(batches) == (tiles if screening is None else screening)
    batches.clear()
    defence.assign(images[:2])  # by itself only where it pays
    assert bool(batches) == (screening is True)
    assert defence.assign(images[:0]).shape == (0,)


def test_an_image_that_is_not_sure_is_seen_by_float32(encoder, images, monkeypatch):
    defence = purifier(encoder, images, True)
    expected = purifier_like(defence, False).assign(images)
    monkeypatch.setattr(encoding, "SCREENING_ERROR", 1e9)
    blind = SimpleNamespace(latents=lambda some: torch.zeros(len(some), encoder.latent))
    monkeypatch.setattr(FoldedNetwork, "bfloat16", lambda self: blind)
    assert torch.equal(defence.assign(images), expected)


def test_an_unknown_screening_is_refused(encoder, images):
    with pytest.raises(ValueError, match=r"screening: expected True, False or None, got 'always'"):
        purifier(encoder, images, "always")
