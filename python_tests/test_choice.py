# SPDX-License-Identifier: Apache-2.0
"""Where the encoder is in doubt, the dictionary of all images has a part in the output."""

import cases
import numpy as np
import pytest

import srdfast

torch = pytest.importorskip("torch")
from srdfast.choice import LEAST_SHARE, Doubt, likelihood_terms  # noqa: E402
from srdfast.errors import ModelFormatError  # noqa: E402
from srdfast.files import load_tensors, save_tensors  # noqa: E402

TEMPERATURE = 1.5


@pytest.fixture
def images(rng):
    return cases.smooth_to_rough(rng, 60)


purifier = cases.purifier_among


@torch.no_grad()
def _latents(defence, images):
    return defence.encoder.latents(images).double().numpy()


def chosen(defence, latents):
    """Clusters of latents float64 [batch, latent] and their share by the textbook's formulas."""
    gaussians = defence.bank.gaussians
    means, variances = gaussians.means.astype(np.float64), gaussians.variances.astype(np.float64)
    apart = (latents[:, None] - means) ** 2 / variances
    scores = gaussians.log_priors - 0.5 * (apart + np.log(2 * np.pi * variances)).sum(2)
    first = scores.argmax(1)
    others = np.where(gaussians.labels[first][:, None] == gaussians.labels, -np.inf, scores)
    odds = np.exp((scores.max(1) - others.max(1)) / defence.temperature)
    share = (odds - 1) / (odds + 1)  # by how much the first is more likely than the other
    return first, np.where(share > 1 - LEAST_SHARE, 1, share)


def expected(defence, images):
    """Clusters and their share; of a mirrored image first, and of both where that leaves a doubt."""
    looks = [_latents(defence, part) for part in (images, images.flip(3))]
    if not defence.mirror:
        return chosen(defence, looks[0])
    doubtful = chosen(defence, looks[1])[1] < 1
    return chosen(defence, np.where(doubtful[:, None], np.mean(looks, 0), looks[1]))


def both(defence, images):
    """The results of each image's own cluster and of the dictionary of all images."""
    general = torch.full((len(images),), defence.bank.general)
    return [defence.purify(images, clusters=index) for index in (expected(defence, images)[0], general)]


@pytest.mark.parametrize("mirror", [False, True])
def test_the_output_is_the_mean_of_both_weighted_by_how_likely_the_first_is(images, mirror):
    defence = purifier(images, temperature=TEMPERATURE, mirror=mirror)
    first, share = expected(defence, images)
    assert 5 < (share < 1).sum() < 55  # some are in doubt, some are not
    purified, info = defence.purify(images, return_info=True)
    np.testing.assert_array_equal(info.clusters, first)
    np.testing.assert_allclose(info.share, share, atol=1e-3)
    own, general = both(defence, images)
    mixed = info.share[:, None, None, None]
    torch.testing.assert_close(purified, mixed * own + (1 - mixed) * general, atol=1e-6, rtol=0)
    assert (own - general).abs().max() > 0.01


def test_the_dictionary_of_all_images_is_that_of_a_purifier_with_it_alone(images):
    defence = purifier(images)
    alone = srdfast.Purifier(defence.bank.of_all(), defence.encoder)
    given = torch.full((len(images),), defence.bank.general)
    purified, info = defence.purify(images, clusters=given, return_info=True)
    assert torch.equal(purified, alone.purify(images)) and info.log_likelihood.isnan().all()


def test_without_temperature_the_likeliest_cluster_alone_rebuilds(images):
    defence = purifier(images)
    purified, info = defence.purify(images, return_info=True)
    assert torch.equal(purified, defence.purify(images, clusters=defence.assign(images)))
    assert (info.share == 1).all()


def test_clusters_of_one_class_are_not_mixed(images):
    defence = purifier(images, classes=1, temperature=1e6)
    assert torch.equal(defence.purify(images), defence.purify(images, clusters=defence.assign(images)))


def test_a_great_temperature_leaves_all_to_the_dictionary_of_all_images(images):
    defence = purifier(images, temperature=1e9)
    purified, info = defence.purify(images, return_info=True)
    assert (info.share == 0).all() and torch.equal(purified, both(defence, images)[1])


def test_given_clusters_are_not_mixed(images):
    given = torch.full((len(images),), 2)
    found, info = purifier(images, temperature=1e6).purify(images, return_info=True, clusters=given)
    assert torch.equal(found, purifier(images).purify(images, clusters=given)) and (info.share == 1).all()


@pytest.mark.parametrize("mirror", [False, True])
def test_an_image_has_the_same_bits_in_every_batch(images, mirror):
    defence = purifier(images, temperature=TEMPERATURE, mirror=mirror)
    together = defence.purify(images)
    for start, stop in ((0, 1), (3, 30), (59, 60), (0, 0)):
        assert torch.equal(defence.purify(images[start:stop]), together[start:stop])


@pytest.mark.parametrize("mirror", [False, True])
def test_the_graph_gives_the_same(images, mirror):
    defence = purifier(images, temperature=TEMPERATURE, mirror=mirror, grad_mode="none")
    program = torch.export.export(defence, (images,)).module()
    torch.testing.assert_close(program(images), defence(images), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint8])
def test_numpy_arrays_of_every_dtype(images, kind):
    given = (255 * images.numpy()).astype(kind) if kind == np.uint8 else images.numpy().astype(kind)
    purified, info = purifier(images, temperature=TEMPERATURE).purify(given, return_info=True)
    assert purified.dtype == kind and isinstance(info.share, np.ndarray) and (info.share < 1).any()


def test_the_exact_gradient_is_that_of_the_weighted_mean(images):
    defence = purifier(images, temperature=TEMPERATURE, grad_mode="exact")
    info = defence.purify(images, return_info=True)[1]
    index = (expected(defence, images)[0], torch.full((len(images),), defence.bank.general))
    share, slopes = info.share[:, None, None, None], []
    weights = torch.rand(images.shape)

    def mixed(given):
        own, general = (defence.purify(given, clusters=part) for part in index)
        return share * own + (1 - share) * general

    for purify in (defence, mixed):
        given = images.clone().requires_grad_()
        slopes.append(torch.autograd.grad((weights * purify(given)).sum(), given)[0])
    torch.testing.assert_close(*slopes, atol=1e-5, rtol=1e-4)


def test_the_gradient_of_bpda_is_the_identity(images):
    given = images.clone().requires_grad_()
    weights = torch.rand(images.shape)
    purified = purifier(images, temperature=TEMPERATURE)(given)
    slope = torch.autograd.grad((weights * purified).sum(), given)[0]
    torch.testing.assert_close(slope, weights)


def test_equal_likelihoods_leave_all_to_the_dictionary_of_all_images():
    latents, labels = torch.zeros(1, 4), torch.tensor([0, 1])
    tables = (torch.zeros(4), torch.ones(4, 2), torch.ones(4, 2), torch.zeros(2))
    first = torch.zeros(1, dtype=torch.int64)
    assert Doubt(likelihood_terms(tables), labels, 5.0, 2).share(latents, first).tolist() == [0]


def test_without_temperature_the_mirror_image_alone_chooses(images):
    defence, usual = purifier(images, mirror=True), purifier(images)
    assert torch.equal(defence.assign(images), usual.assign(images.flip(3)))
    assert not torch.equal(defence.assign(images), usual.assign(images))


def test_where_the_mirror_image_leaves_a_doubt_the_image_decides_too(images):
    defence = purifier(images, temperature=TEMPERATURE, mirror=True)
    info = defence.purify(images, return_info=True)[1]
    sure, (first, share) = purifier(images, mirror=True).assign(images).numpy(), expected(defence, images)
    assert 0 < (sure != first).sum() <= (chosen(defence, _latents(defence, images.flip(3)))[1] < 1).sum()
    np.testing.assert_array_equal(defence.assign(images), first)
    np.testing.assert_allclose(info.share, share, atol=1e-3)


def test_where_both_looks_decide_the_choice_knows_no_left_and_right(images):
    defence = purifier(images, temperature=1e9, mirror=True)  # every image is in doubt
    assert torch.equal(defence.assign(images), defence.assign(images.flip(3)))


def test_the_mirror_is_in_the_file(images, tmp_path):
    file = tmp_path / "model.safetensors"
    purifier(images, mirror=True).save(file)
    assert srdfast.Purifier.load(file).mirror and not srdfast.Purifier.load(file, mirror=False).mirror
    tensors, metadata = load_tensors(file)
    save_tensors(file, tensors, {**metadata, "mirror": "yes"})
    with pytest.raises(ModelFormatError, match="mirror: expected True or False, got 'yes'"):
        srdfast.Purifier.load(file)
    del metadata["mirror"]
    save_tensors(file, tensors, metadata)
    assert not srdfast.Purifier.load(file).mirror
    with pytest.raises(ValueError, match="mirror: expected True or False, got 1"):
        srdfast.Purifier.load(file, mirror=1)


def test_the_temperature_is_in_the_file(images, tmp_path):
    file = tmp_path / "model.safetensors"
    purifier(images, temperature=TEMPERATURE).save(file)
    assert srdfast.Purifier.load(file).temperature == TEMPERATURE
    assert srdfast.Purifier.load(file, temperature=0).temperature == 0
    tensors, metadata = load_tensors(file)
    save_tensors(file, tensors, {**metadata, "temperature": -1})
    with pytest.raises(ModelFormatError, match="temperature: expected a number from 0"):
        srdfast.Purifier.load(file)
    del metadata["temperature"]
    save_tensors(file, tensors, metadata)
    assert srdfast.Purifier.load(file).temperature == 0


@pytest.mark.parametrize("temperature", [-1.0, float("nan"), float("inf"), "8", None])
def test_what_is_no_temperature_is_refused(images, temperature):
    with pytest.raises(ValueError, match="temperature: expected a number from 0 to 1e9"):
        purifier(images, temperature=temperature)


def test_a_temperature_needs_a_dictionary_of_all_images(images, tmp_path):
    defence = purifier(images)
    with pytest.raises(ValueError, match="temperature: expected 0 for a bank without a dictionary of all"):
        srdfast.Purifier(defence.bank.of_clusters(), defence.encoder, temperature=2.0)
    file = tmp_path / "model.safetensors"
    srdfast.Purifier(defence.bank.of_clusters(), defence.encoder).save(file)
    with pytest.raises(ValueError, match="temperature: expected 0"):
        srdfast.Purifier.load(file, temperature=2.0)
    tensors, metadata = load_tensors(file)
    save_tensors(file, tensors, {**metadata, "temperature": 2.0})
    with pytest.raises(ModelFormatError, match=r"not a whole purifier \(temperature: expected 0"):
        srdfast.Purifier.load(file)
