# SPDX-License-Identifier: Apache-2.0
"""The most likely of some Gaussians: the float64 reference, ties, the edges of vectors, bits, errors."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

import srdfast
from srdfast.clusters import Gaussians
from srdfast.nearest import ASSIGNED, NearestCluster

DTYPES = [np.float32, np.float64]


def clusters(rng, count=7, latent=32, centre=100.0):
    """Means, variances and log priors of clusters that lie away from zero."""
    return (
        centre + 3 * rng.normal(size=(count, latent)),
        rng.uniform(0.01, 4, (count, latent)),
        np.log(rng.dirichlet(np.full(count, 5.0))),
    )


def latents_near(rng, means, variances, batch=200, dtype=np.float32):
    """Latents drawn from the clusters, a little wider than they are."""
    chosen = rng.integers(0, len(means), batch)
    return (
        means[chosen] + 1.5 * rng.normal(size=(batch, means.shape[1])) * np.sqrt(variances[chosen])
    ).astype(dtype)


def assigned(latents, gaussians):
    """`srdfast.assign` as three arrays."""
    found = srdfast.assign(latents, srdfast.gaussian_tables(*gaussians).like(latents))
    return found.index, found.log_likelihood, found.margin


def assert_right(latents, gaussians, rtol):
    """Index wherever the margin is beyond rounding; likelihood and margin to `rtol` of its size."""
    index, log_likelihood, margin = assigned(latents, gaussians)
    scores = reference.log_likelihoods(latents, *gaussians)
    best, ordered = scores.argmax(1), np.sort(scores, axis=1)[:, ::-1]
    rounding = rtol * (1 + np.abs(ordered[:, 0]))
    lead = ordered[:, 0] - ordered[:, 1] if ordered.shape[1] > 1 else np.full(len(latents), np.inf)
    clear = lead > 4 * rounding
    np.testing.assert_array_equal(index[clear], best[clear])
    assert np.all(np.abs(log_likelihood - ordered[:, 0]) <= rounding)
    finite = np.isfinite(lead)
    # The runner-up's own rounding goes with its own size.
    assert np.all(np.abs(margin[finite] - lead[finite]) <= 3 * (rounding + rtol * lead)[finite])
    assert np.all(margin[~finite] == np.inf)
    assert index.dtype == np.int32 and log_likelihood.dtype == margin.dtype == latents.dtype
    return clear


@pytest.mark.parametrize("dtype, rtol", [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_the_float64_reference_is_matched(rng, dtype, rtol):
    gaussians = clusters(rng)
    assert assert_right(latents_near(rng, *gaussians[:2], dtype=dtype), gaussians, rtol).all()


def test_nothing_cancels_for_narrow_clusters_far_from_the_centre(rng):
    means, variances, log_priors = clusters(rng, count=40, latent=64, centre=0.0)
    gaussians = 50 * means, 1e-3 * variances, log_priors
    latents = latents_near(rng, *gaussians[:2])
    exact = reference.log_likelihoods(latents, *gaussians).max(1)
    # The terms of the inner product with [z^2, z, 1] are large, and so is float32's rounding of them.
    assert np.finfo(np.float32).eps * np.mean(gaussians[0] ** 2 / gaussians[1]) > 0.1
    assert np.abs(assigned(latents, gaussians)[1] - exact).max() < 0.1
    assert_right(latents, gaussians, 1e-3)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 70])
def test_sizes_at_the_edges_of_vectors(rng, count):
    for latent in (1, 3, 16, 33):
        gaussians = clusters(rng, count, latent)
        for batch in (0, 1, 3, 8, 17):
            for dtype, rtol in zip(DTYPES, (1e-4, 1e-11), strict=True):
                assert_right(latents_near(rng, *gaussians[:2], batch, dtype), gaussians, rtol)


@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(0, 9),
    count=st.integers(1, 40),
    latent=st.integers(1, 40),
    spread=st.floats(1e-3, 1e3),
)
def test_any_clusters_match_the_reference(seed, batch, count, latent, spread):
    rng = np.random.default_rng(seed)
    means, variances, log_priors = clusters(rng, count, latent, centre=0.0)
    gaussians = spread * means, variances, log_priors
    assert_right(latents_near(rng, *gaussians[:2], batch, np.float64), gaussians, 1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
def test_ties_go_to_the_lowest_cluster(rng, dtype):
    order = np.array([3, 1, 1, 0, 1, 3, 0, 2] * 9)
    gaussians = tuple(part[order] for part in clusters(rng, 4))
    index, _, margin = assigned(latents_near(rng, *gaussians[:2], dtype=dtype), gaussians)
    assert set(index) <= {0, 1, 3, 7}
    assert not np.any(margin)  # each cluster is there more than once


def test_a_latent_beyond_all_range_is_of_the_first_cluster(rng):
    gaussians = clusters(rng, 5)
    latents = np.full((3, 32), 1e30, np.float32)
    index, log_likelihood, margin = assigned(latents, gaussians)
    assert not np.any(index) and np.all(log_likelihood == -np.inf) and not np.any(margin)


@pytest.mark.parametrize("dtype", DTYPES)
def test_neither_the_batch_nor_the_threads_change_a_bit(rng, dtype):
    gaussians = clusters(rng, 37)
    latents = latents_near(rng, *gaussians[:2], 5000, dtype)
    tables, before = srdfast.gaussian_tables(*gaussians).like(latents), srdfast.get_num_threads()
    whole = vars(srdfast.assign(latents, tables))

    def assert_same(rows):
        for name, part in vars(srdfast.assign(latents[rows], tables)).items():
            np.testing.assert_array_equal(part, whole[name][rows])

    try:
        for threads in (1, 2, 3):
            srdfast.set_num_threads(threads)
            assert_same(np.arange(5000))
    finally:
        srdfast.set_num_threads(before)
    assert_same(rng.permutation(5000))
    for start, stop in ((0, 1), (4999, 5000), (3, 12), (17, 24), (100, 4003)):
        assert_same(np.arange(start, stop))


LEVEL_PROGRAM = """
import json
import numpy as np, srdfast
rng = np.random.default_rng(3)
means, variances = rng.normal(size=(21, 19)), rng.uniform(0.1, 2, (21, 19))
answers = []
for dtype in (np.float32, np.float64):
    latents = rng.normal(size=(30, 19)).astype(dtype)
    tables = srdfast.gaussian_tables(means, variances, np.zeros(21)).like(latents)
    answers += [part.tolist() for part in vars(srdfast.assign(latents, tables)).values()]
print(json.dumps(answers))
"""


def test_every_cpu_level_gives_the_same_answer(of_every_level):
    first, *others = of_every_level(LEVEL_PROGRAM)
    for answer in others:
        for place, (one, other) in enumerate(zip(answer, first, strict=True)):
            np.testing.assert_allclose(one, other, atol=1e-4 if place < 3 else 1e-11)


def test_tensors_come_back_as_tensors(rng):
    torch = pytest.importorskip("torch")
    gaussians = clusters(rng, centre=0.0)
    latents = latents_near(rng, *gaussians[:2])
    expected = assigned(latents, gaussians)
    for part, wanted in zip(assigned(torch.from_numpy(latents), gaussians), expected, strict=True):
        assert isinstance(part, torch.Tensor)
        np.testing.assert_array_equal(part.numpy(), wanted)
    halves = torch.from_numpy(latents).half()
    index, log_likelihood, _ = assigned(halves, gaussians)
    assert index.dtype == torch.int32 and log_likelihood.dtype == torch.float32
    np.testing.assert_array_equal(log_likelihood.numpy(), assigned(halves.float().numpy(), gaussians)[1])


def test_wrong_arguments_are_named(rng):
    gaussians = clusters(rng)
    latents = latents_near(rng, *gaussians[:2], 4)
    tables = srdfast.gaussian_tables(*gaussians).like(latents)
    for bad in (np.nan, np.inf, -np.inf):
        spoilt = latents.copy()
        spoilt[2, 5] = bad
        with pytest.raises(ValueError, match=r"latents: expected finite values.*entry 2"):
            srdfast.assign(spoilt, tables)
    zeroed = srdfast.assign(spoilt, tables, nonfinite="zero")
    spoilt[2, 5] = 0
    np.testing.assert_array_equal(zeroed.log_likelihood, srdfast.assign(spoilt, tables).log_likelihood)
    with pytest.raises(ValueError, match=r"latents.*\[batch, latent\]"):
        srdfast.assign(latents[0], tables)
    with pytest.raises(ValueError, match=r"centre: expected 31"):
        srdfast.assign(np.ascontiguousarray(latents[:, :31]), tables)
    with pytest.raises(TypeError, match="latents"):
        srdfast.assign(latents.tolist(), tables)
    with pytest.raises(TypeError, match="centre: expected float64"):
        srdfast.assign(latents.astype(np.float64), tables)
    with pytest.raises(TypeError, match="latents"):
        srdfast.assign(latents.astype(np.int32), tables)
    parts = dict(vars(tables))
    for name, axis in (("scales", 1), ("shifts", 0), ("shifts", 1), ("offsets", 0)):
        short = np.ascontiguousarray(np.delete(parts[name], 0, axis))
        with pytest.raises(ValueError, match=name if name != "offsets" else "scales"):
            srdfast.assign(latents, srdfast.GaussianTables(**{**parts, name: short}))
    with pytest.raises(ValueError, match="shifts: expected finite"):
        srdfast.assign(
            latents, srdfast.GaussianTables(**{**parts, "shifts": np.full_like(tables.shifts, np.nan)})
        )


def test_gaussians_that_are_none_are_refused(rng):
    means, variances, log_priors = clusters(rng)
    with pytest.raises(ValueError, match="variances: expected positive"):
        srdfast.gaussian_tables(means, 0 * variances, log_priors)
    with pytest.raises(ValueError, match=r"variances: expected shape \[7, 32\]"):
        srdfast.gaussian_tables(means, variances[:1], log_priors)
    with pytest.raises(ValueError, match=r"log_priors: expected shape \[7\]"):
        srdfast.gaussian_tables(means, variances, log_priors[:2])
    with pytest.raises(ValueError, match=r"means: expected \[clusters, latent\]"):
        srdfast.gaussian_tables(means[0], variances, log_priors)
    with pytest.raises(ValueError, match="means: expected finite"):
        srdfast.gaussian_tables(np.nan * means, variances, log_priors)


def test_the_engine_is_chosen_by_the_size_of_the_tables(rng):
    pytest.importorskip("faiss")

    def lookup(count, latent):
        means, variances, log_priors = clusters(rng, count, latent)
        return NearestCluster(
            Gaussians(
                means.astype(np.float32),
                variances.astype(np.float32),
                log_priors.astype(np.float32),
                np.zeros(count, np.int64),
            )
        )

    latent = 64
    assert lookup(ASSIGNED // latent, latent).engine == "assign"
    assert lookup(ASSIGNED // latent + 1, latent).engine == "faiss"
