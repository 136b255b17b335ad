# SPDX-License-Identifier: Apache-2.0
"""Adaptive clustering, the Gaussians, and the lookup of the most likely one against float64."""

import numpy as np
import pytest

from srdfast.clusters import Gaussians, choose_clusters, fit_gaussians
from srdfast.nearest import NearestCluster

ENGINES = ["assign", "product", "faiss"]


def blobs(rng, centres, each=120, latent=24, spread=0.3):
    """Round groups, far apart: latents float32 [n, latent] in a random order, and the group of each."""
    groups = rng.permutation(np.repeat(np.arange(centres), each))
    means = 3 * rng.normal(size=(centres, latent))
    return (means[groups] + spread * rng.normal(size=(len(groups), latent))).astype(np.float32), groups


@pytest.fixture
def gaussians(rng):
    return Gaussians(
        (100 + 3 * rng.normal(size=(7, 32))).astype(np.float32),
        rng.uniform(0.01, 4, (7, 32)).astype(np.float32),
        np.log(np.full(7, 1 / 7, np.float32)),
        np.array([0, 0, 0, 1, 1, 2, 2]),
    )


def near(gaussians, rng, count=300):
    """Latents drawn from the clusters, float32 [count, latent]."""
    chosen = rng.integers(0, len(gaussians), count)
    noise = rng.normal(size=(count, gaussians.latent)) * np.sqrt(gaussians.variances[chosen])
    return (gaussians.means[chosen] + 1.5 * noise).astype(np.float32)


def log_density(gaussians, latents):
    """The textbook formula in float64, [n, clusters]."""
    means, variances = gaussians.means.astype(np.float64), gaussians.variances.astype(np.float64)
    squares = (latents[:, None].astype(np.float64) - means) ** 2 / variances
    return gaussians.log_priors - 0.5 * (squares + np.log(2 * np.pi * variances)).sum(2)


@pytest.mark.parametrize("centres", [1, 2, 3, 5])
def test_the_number_of_clusters_is_found(rng, centres):
    latents, groups = blobs(rng, centres)
    found, report = choose_clusters(latents)
    assert report["clusters"] == centres and len(report["bic"]) == 6
    assert len(np.unique(np.stack([groups, found]), axis=1).T) == centres  # one to one
    assert found.dtype == np.int64


def test_largest_group_comes_first(rng):
    latents, _ = blobs(rng, 3, each=60)
    few = np.concatenate([latents, latents[:1] + 0.3 * rng.normal(size=(100, 24)).astype(np.float32)])
    found, _ = choose_clusters(few)
    sizes = np.bincount(found)
    assert (np.diff(sizes) <= 0).all()


def test_an_elongated_group_stays_whole(rng):
    latents = rng.normal(size=(400, 24)) * np.linspace(5, 0.1, 24)
    assert choose_clusters(latents.astype(np.float32))[1]["clusters"] == 1


def test_small_groups_are_not_considered(rng):
    latents, _ = blobs(rng, 2, each=40)
    assert choose_clusters(latents, min_size=50)[1]["clusters"] == 1
    assert choose_clusters(latents, min_size=40)[1]["clusters"] == 2


def test_choice_is_repeatable(rng):
    latents = rng.normal(size=(300, 24)).astype(np.float32) ** 2
    first, second = choose_clusters(latents, seed=5), choose_clusters(latents, seed=5)
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1] == second[1]


@pytest.mark.parametrize(
    "latents", [np.ones((1, 8)), np.ones((200, 8)), np.eye(5, 8)], ids=["one", "equal", "few"]
)
def test_degenerate_classes_are_one_cluster(latents):
    found, report = choose_clusters(latents.astype(np.float32))
    assert report["clusters"] == 1 and (found == 0).all()


def test_two_points_repeated_do_not_break_the_mixture():
    latents = np.repeat(np.eye(2, 8, dtype=np.float32), 100, axis=0)
    assert choose_clusters(latents)[1]["clusters"] == 2


def test_gaussians_are_moments(rng):
    latents, groups = blobs(rng, 3, each=200)
    found = fit_gaussians(latents, groups, np.array([0, 0, 1]), shrinkage=0)
    for cluster in range(3):
        own = latents[groups == cluster]
        np.testing.assert_allclose(found.means[cluster], own.mean(0), rtol=1e-4, atol=1e-5)
        pool = 1 / np.sqrt(200)
        pooled = np.mean([latents[groups == other].var(0) for other in range(3)], axis=0)
        np.testing.assert_allclose(
            found.variances[cluster], (1 - pool) * own.var(0) + pool * pooled, rtol=1e-4
        )
    np.testing.assert_allclose(np.exp(found.log_priors), 1 / 3, rtol=1e-6)
    assert found.labels.tolist() == [0, 0, 1]


def test_a_cluster_of_one_takes_the_pooled_variance(rng):
    latents, groups = blobs(rng, 2, each=50)
    latents = np.concatenate([latents, latents[:1] + 40])
    found = fit_gaussians(latents, np.append(groups, 2), np.arange(3))
    pooled = (50 * latents[:-1][groups == 0].var(0) + 50 * latents[:-1][groups == 1].var(0)) / 101
    np.testing.assert_allclose(found.variances[2], pooled, rtol=1e-4)


def test_constant_latents_keep_a_positive_variance():
    found = fit_gaussians(np.ones((10, 4), np.float32), np.zeros(10, np.int64), np.array([0]))
    assert (found.variances > 0).all()
    assert NearestCluster(found)(np.ones((1, 4), np.float32))[0].tolist() == [0]


def test_empty_clusters_are_refused():
    with pytest.raises(ValueError, match="cluster 1 has no latents"):
        fit_gaussians(np.ones((3, 4), np.float32), np.array([0, 0, 2]), np.arange(3))
    with pytest.raises(ValueError, match="assignment"):
        fit_gaussians(np.ones((3, 4), np.float32), np.array([0, 0, 3]), np.arange(3))


@pytest.mark.parametrize("engine", ENGINES)
def test_lookup_is_the_most_likely_cluster(gaussians, rng, engine):
    if engine == "faiss":
        pytest.importorskip("faiss")
    latents = near(gaussians, rng)
    expected = log_density(gaussians, latents)
    clusters, likelihood = NearestCluster(gaussians, engine)(latents)
    np.testing.assert_array_equal(clusters, expected.argmax(1))
    np.testing.assert_allclose(likelihood, expected.max(1), rtol=1e-6)
    assert clusters.dtype == np.int64 and likelihood.dtype == np.float32


def test_scores_do_not_cancel(gaussians, rng):
    latents = near(gaussians, rng)
    scores = NearestCluster(gaussians, "product").scores(latents)
    np.testing.assert_allclose(scores, log_density(gaussians, latents), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("engine", ENGINES)
def test_ties_go_to_the_lowest_cluster(gaussians, rng, engine):
    if engine == "faiss":
        pytest.importorskip("faiss")
    order = np.array([3, 1, 1, 1, 1, 1, 3, 0])
    copies = Gaussians(*(np.asarray(array)[order] for array in vars(gaussians).values()))
    clusters, _ = NearestCluster(copies, engine)(near(gaussians, rng))
    assert set(clusters) <= {0, 1, 7}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_batch_around_a_latent_does_not_matter(gaussians, rng, engine):
    if engine == "faiss":
        pytest.importorskip("faiss")
    latents, lookup = near(gaussians, rng, 65), NearestCluster(gaussians, engine)
    clusters, likelihood = lookup(latents)
    for row in range(0, 65, 7):
        alone = lookup(latents[row : row + 1])
        assert alone[0] == clusters[row] and alone[1] == likelihood[row]


def test_restricted_to_the_class(gaussians, rng):
    latents, labels = near(gaussians, rng), rng.integers(0, 3, 300)
    scores = np.where(gaussians.labels == labels[:, None], log_density(gaussians, latents), -np.inf)
    clusters, likelihood = NearestCluster(gaussians).within_class(latents, labels)
    np.testing.assert_array_equal(clusters, scores.argmax(1))
    np.testing.assert_allclose(likelihood, scores.max(1), rtol=1e-6)
    with pytest.raises(ValueError, match="class 9 has no cluster"):
        NearestCluster(gaussians).within_class(latents[:1], np.array([9]))


def test_no_latents(gaussians):
    clusters, likelihood = NearestCluster(gaussians)(np.empty((0, 32), np.float32))
    assert clusters.shape == likelihood.shape == (0,)


def test_wrong_arguments_are_named(gaussians):
    with pytest.raises(ValueError, match="engine"):
        NearestCluster(gaussians, "annoy")
    with pytest.raises(ValueError, match=r"latents.*32"):
        NearestCluster(gaussians)(np.zeros((2, 31), np.float32))
    with pytest.raises(ValueError, match=r"latents.*finite"):
        NearestCluster(gaussians)(np.full((2, 32), np.nan, np.float32))
    with pytest.raises(ValueError, match="variances"):
        Gaussians(gaussians.means, gaussians.variances[:1], gaussians.log_priors, gaussians.labels)
    with pytest.raises(ValueError, match="positive"):
        Gaussians(gaussians.means, 0 * gaussians.variances, gaussians.log_priors, gaussians.labels)


def test_all_together_have_the_moments_of_the_mixture(gaussians, rng):
    one = gaussians.together()
    chosen = rng.integers(0, len(gaussians), 200_000)
    noise = rng.normal(size=(len(chosen), gaussians.latent)) * np.sqrt(gaussians.variances[chosen])
    drawn = gaussians.means[chosen] + noise
    assert len(one) == 1 and one.log_priors[0] == 0
    np.testing.assert_allclose(one.means[0], drawn.mean(0), rtol=1e-3)
    np.testing.assert_allclose(one.variances[0], drawn.var(0), rtol=0.02)
