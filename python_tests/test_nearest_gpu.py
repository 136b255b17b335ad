# SPDX-License-Identifier: Apache-2.0
"""The nearest cluster of tensors where they lie: each engine gives the answers of `NearestCluster`."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import cases
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from devices import EMULATED, cuda_or_skip  # noqa: E402

import srdfast  # noqa: E402
from srdfast import DeviceError, nearest_gpu, pretrained  # noqa: E402
from srdfast.clusters import Gaussians  # noqa: E402
from srdfast.nearest import InnerProducts, NearestCluster  # noqa: E402
from srdfast.nearest_gpu import NearestOnGpu  # noqa: E402
from srdfast.networks import ResNet  # noqa: E402

pytestmark = pytest.mark.gpu


@pytest.fixture
def gaussians(rng):
    """12 clusters of 16 features away from zero; the last repeats the third."""
    means = (50 + 3 * rng.normal(size=(12, 16))).astype(np.float32)
    variances = rng.uniform(0.05, 4, (12, 16)).astype(np.float32)
    means[11], variances[11] = means[2], variances[2]
    return Gaussians(means, variances, np.full(12, -np.log(12), np.float32), np.arange(12) % 3)


@pytest.fixture
def latents(gaussians, rng):
    chosen = rng.integers(0, 12, 300)
    away = 1.5 * np.sqrt(gaussians.variances[chosen]) * rng.normal(size=(300, 16))
    return (gaussians.means[chosen] + away).astype(np.float32)


@pytest.fixture
def flat_index(monkeypatch):
    """Flat indices on the CPU in the place of those on a GPU; returns the threads that made one."""
    faiss = pytest.importorskip("faiss")
    makers = []

    def make(terms, device):
        makers.append(threading.get_ident())
        return faiss.IndexFlatIP(terms)

    monkeypatch.setattr(nearest_gpu, "gpu_index", make)
    monkeypatch.setattr(nearest_gpu, "faiss_has_gpus", lambda: True)
    return makers


@pytest.mark.parametrize("engine", ["assign", "faiss", "product"])
def test_the_answers_are_those_of_nearest_cluster(gaussians, latents, engine, flat_index):
    nearest = NearestCluster(gaussians, engine)
    clusters, likelihood = NearestOnGpu(nearest, torch.device("cpu"))(torch.from_numpy(latents))
    expected, exact = nearest(latents)
    assert clusters.dtype == torch.int64 and likelihood.dtype == torch.float32
    np.testing.assert_array_equal(clusters.numpy(), expected)
    np.testing.assert_allclose(likelihood.numpy(), exact, rtol=1e-5)
    assert 2 in expected and 11 not in expected  # a tie goes to the lowest


def test_every_thread_has_an_index_of_its_own(gaussians, latents, flat_index):
    on_gpu = NearestOnGpu(NearestCluster(gaussians, "faiss"), torch.device("cpu"))
    expected = NearestCluster(gaussians)(latents)[0]
    together = threading.Barrier(4)

    def ask(_):
        together.wait()
        return [on_gpu(torch.from_numpy(latents))[0].numpy() for _ in range(5)]

    with ThreadPoolExecutor(4) as pool:
        for answers in pool.map(ask, range(4)):
            for found in answers:
                np.testing.assert_array_equal(found, expected)
    assert len(flat_index) == len(set(flat_index)) == 4


def test_a_faiss_without_gpus_is_refused_or_passed_over(gaussians, latents, monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.setattr(nearest_gpu, "faiss_has_gpus", lambda: False)
    with pytest.raises(DeviceError, match="lookup: expected a faiss with GPUs"):
        NearestOnGpu(NearestCluster(gaussians, "faiss"), torch.device("cpu"))
    monkeypatch.setattr("srdfast.nearest.ASSIGNED", 1)
    nearest = NearestCluster(gaussians)
    assert nearest.engine == "faiss"
    assert NearestOnGpu(nearest, torch.device("cpu")).engine == "assign"


def test_equal_vectors_are_kept_once(gaussians, latents):
    form = InnerProducts.of(gaussians)
    assert form.distinct.tolist() == list(range(11)) and form.among_distinct.tolist() == [*range(11), 2]
    scores = NearestCluster(gaussians, "product").scores(latents)
    np.testing.assert_array_equal(scores[:, 2], scores[:, 11])


def small_purifier():
    torch.manual_seed(0)
    encoder = ResNet(depth=10, width=4, classes=2).eval()
    return srdfast.Purifier(cases.bank(np.random.default_rng(0), latent=encoder.latent), encoder).eval()


def test_a_purifier_on_a_gpu_is_that_of_the_cpu(monkeypatch):
    if EMULATED:
        images, purifier = torch.rand(3, 3, 16, 16), small_purifier()
    else:
        images, purifier = pretrained.sample(200).tensors()[0], srdfast.Purifier.from_pretrained("cifar10")
    clusters = purifier.assign(images)
    expected, whole = purifier.purify(images, clusters=clusters), purifier.purify(images)
    device = cuda_or_skip(monkeypatch)
    moved = copy.deepcopy(purifier).to(device)
    found = moved.purify(images.to(device), clusters=clusters.to(device))
    assert found.device == device
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-4)
    assert (moved.assign(images.to(device)).cpu() == clusters).float().mean() > 0.99
    # The encoder there is torch's, whose last bits move an image's shares, and seldom its cluster.
    apart = (moved.purify(images.to(device)).cpu() - whole).abs().amax((1, 2, 3))
    assert (apart < 1 / 255).float().mean() > 0.95
