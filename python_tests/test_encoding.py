# SPDX-License-Identifier: Apache-2.0
"""The encoder at work: its choices follow the weights, in threads and copies, in every dtype."""

import copy
import dataclasses
import pickle
from concurrent.futures import ThreadPoolExecutor

import cases
import numpy as np
import pytest

import srdfast

torch = pytest.importorskip("torch")
from srdfast.clusters import Gaussians  # noqa: E402
from srdfast.networks import ResNet  # noqa: E402


@pytest.fixture(autouse=True)
def one_torch_thread():
    torch.set_num_threads(1)


@pytest.fixture
def images(rng):
    """Smooth and rough images [200, 3, 16, 16] in [0, 1]."""
    coarse = torch.from_numpy(rng.random((200, 3, 4, 4)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear")
    rough = torch.from_numpy(rng.random((200, 3, 16, 16)).astype(np.float32))
    return smooth.lerp(rough, torch.linspace(0, 1, 200).view(-1, 1, 1, 1))


@pytest.fixture
@torch.no_grad()
def defence(images):
    """A purifier whose six Gaussians stand around latents of some images."""
    torch.manual_seed(0)
    encoder = ResNet(depth=10, width=4, classes=2).eval()
    latents = encoder.latents(images).numpy()
    variances = np.broadcast_to(latents.var(0) + 1e-4, (6, latents.shape[1])).astype(np.float32)
    means, priors = latents[::35][:6], np.full(6, -np.log(6), np.float32)
    gaussians = Gaussians(means, variances, priors, np.arange(6) % 2)
    bank = cases.bank(np.random.default_rng(3), latent=encoder.latent, clusters=6)
    return srdfast.Purifier(dataclasses.replace(bank, gaussians=gaussians), encoder).eval()


@torch.no_grad()
def chosen(defence, images):
    """The clusters by torch's latents in float64."""
    latents = copy.deepcopy(defence.encoder).double().latents(images.double())
    return torch.from_numpy(defence._nearest(latents.float().numpy())[0])


def test_the_choices_are_those_of_the_latents_in_float64(defence, images):
    clusters = defence.assign(images)
    assert len(clusters.unique()) > 3
    assert torch.equal(clusters, chosen(defence, images))


def test_the_choices_follow_the_weights(defence, images):
    before = defence.assign(images)
    with torch.no_grad():
        defence.encoder.stem[0].weight.mul_(-1.5)
    after = defence.assign(images)
    assert not torch.equal(before, after)
    assert torch.equal(after, chosen(defence, images))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_an_encoder_of_another_dtype(defence, images, dtype):
    before = defence.assign(images)
    defence.encoder.to(dtype)
    agreed = (defence.assign(images) == before).float().mean()
    assert agreed == 1 if dtype == torch.float64 else agreed > 0.9


def test_likelihoods_and_pixels_go_with_the_choice(defence, images):
    purified, info = defence.purify(images, return_info=True)
    assert torch.equal(info.clusters, defence.assign(images))
    assert torch.equal(purified, defence.purify(images, clusters=info.clusters))
    scores = defence._nearest.scores(defence._latents(images))
    np.testing.assert_allclose(info.log_likelihood.numpy(), scores.max(1), rtol=1e-4)


def test_an_image_is_purified_alike_in_every_batch(defence, images):
    together = defence.purify(images)
    for start, stop in ((0, 1), (3, 40), (199, 200)):
        assert torch.equal(defence.purify(images[start:stop]), together[start:stop])


def test_many_threads_choose_as_one_does(defence, images):
    expected = defence.assign(images)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: defence.assign(images), range(24)):
            assert torch.equal(found, expected)


def test_copies_choose_by_their_own_weights(defence, images):
    expected = defence.assign(images)
    for twin in (copy.deepcopy(defence), pickle.loads(pickle.dumps(defence))):
        assert torch.equal(twin.assign(images), expected)
        with torch.no_grad():
            twin.encoder.stem[0].weight.mul_(-1.5)
        assert not torch.equal(twin.assign(images), expected)
        assert torch.equal(defence.assign(images), expected)


def test_no_images(defence, images):
    assert defence.assign(images[:0]).shape == (0,)
