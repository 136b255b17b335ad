# SPDX-License-Identifier: Apache-2.0
"""The encoder at work: its choices follow the weights, in threads and copies, in every dtype."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import cases
import numpy as np
import pytest

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def one_torch_thread():
    torch.set_num_threads(1)


@pytest.fixture
def images(rng):
    return cases.smooth_to_rough(rng, 200)


@pytest.fixture
def defence(images):
    return cases.purifier_among(images)


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
