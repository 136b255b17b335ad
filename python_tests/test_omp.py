# SPDX-License-Identifier: Apache-2.0
"""Orthogonal matching pursuit: the greedy invariants, the float64 reference, scikit-learn and SPAMS."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

import srdfast

SELECTIONS = ("correlation", "residual")
CLEAR = {np.float32: 1e-5, np.float64: 1e-12}  # a choice with a smaller relative margin may go either way


def problem(rng, batch=64, atoms=96, features=32, dtype=np.float32, unit=True):
    """Random signals [batch, features] and atoms [atoms, features]."""
    dictionary = rng.normal(size=(atoms, features))
    if unit:
        dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    return rng.normal(size=(batch, features)).astype(dtype), dictionary.astype(dtype)


def assert_greedy(signals, dictionary, codes, selection, slack):
    """Every pick has the best score given the picks before it, up to rounding."""
    for x, support in zip(signals.astype(np.float64), codes.indices, strict=True):
        chosen = support[support >= 0]
        assert len(set(chosen)) == len(chosen)
        for step, atom in enumerate(chosen):
            scores = reference.omp_scores(x, dictionary.astype(np.float64), chosen[:step], selection)
            assert scores[atom] >= np.max(scores) - slack * np.linalg.norm(x)


def assert_same_support(codes, signals, dictionary, clear, selection, **options):
    """Compare supports as long as the reference's choices are clear; return the share compared to the end."""
    compared = 0
    for row, x in enumerate(signals):
        found = reference.omp_one(x, dictionary, codes.indices.shape[1], selection=selection, **options)
        unclear = [step for step, margin in enumerate(found.margins) if margin <= clear]
        steps = unclear[0] if unclear else len(found.support)
        assert codes.indices[row, :steps].tolist() == found.support[:steps]
        if not unclear:
            assert codes.counts[row] == len(found.support)
            compared += 1
    return compared / max(len(signals), 1)


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("unit", [True, False], ids=["unit atoms", "raw atoms"])
def test_the_float64_reference_is_matched(rng, selection, dtype, unit):
    signals, dictionary = problem(rng, dtype=dtype, unit=unit)
    codes = srdfast.omp(signals, dictionary, max_atoms=6, selection=selection)
    assert assert_same_support(codes, signals, dictionary, CLEAR[dtype], selection) > 0.9
    assert_greedy(signals, dictionary, codes, selection, 1e-5)
    for x, support, values in zip(signals, codes.indices, codes.values, strict=True):
        expected, _ = reference.fit(x.astype(np.float64), dictionary.astype(np.float64), support)
        np.testing.assert_allclose(values, expected, rtol=0, atol=(1e-4 if dtype == np.float32 else 1e-11))


@pytest.mark.parametrize("features", [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 48, 64, 65, 192])
@pytest.mark.parametrize("selection", SELECTIONS)
def test_sizes_at_the_edges_of_vectors(rng, selection, features):
    for atoms in (1, 5, 16, 33):
        signals, dictionary = problem(rng, batch=7, atoms=atoms, features=features)
        codes = srdfast.omp(signals, dictionary, max_atoms=4, selection=selection)
        assert_greedy(signals, dictionary, codes, selection, 1e-5)
        left = signals - codes.reconstruct(dictionary)
        for x, support, rest in zip(signals, codes.indices, left, strict=True):
            chosen = dictionary[support[support >= 0]].astype(np.float64)
            best = np.linalg.norm(x - np.linalg.lstsq(chosen.T, x, rcond=None)[0] @ chosen)
            rounding = (
                np.finfo(np.float32).eps * np.linalg.cond(chosen) ** 2
            )  # through the Gram matrix: squared
            assert np.linalg.norm(rest) <= best + (4 * rounding + 1e-6) * np.linalg.norm(x)


def test_shapes_types_and_padding(rng):
    signals, dictionary = problem(rng, batch=5)
    codes = srdfast.omp(signals, dictionary, max_atoms=6, tolerance=20.0)
    assert codes.indices.dtype == np.int32 and codes.indices.shape == (5, 6)
    assert codes.values.dtype == np.float32 and codes.values.shape == (5, 6)
    assert codes.counts.dtype == np.int32 and codes.counts.shape == (5,)
    assert np.any(codes.counts < 6)
    used = np.arange(6) < codes.counts[:, None]
    assert np.all((codes.indices >= 0) == used) and np.all(codes.indices[~used] == -1)
    assert np.all(codes.values[~used] == 0)
    dense = codes.dense()
    np.testing.assert_array_equal(
        dense, reference.dense(codes.indices, codes.values, len(dictionary)).astype(np.float32)
    )
    np.testing.assert_allclose(codes.reconstruct(dictionary), dense @ dictionary, atol=1e-5)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_the_residual_is_orthogonal_to_the_chosen_atoms_and_falls(rng, selection):
    signals, dictionary = problem(rng)
    norms = [np.sum(signals.astype(np.float64) ** 2, axis=1)]
    for max_atoms in range(1, 7):
        codes = srdfast.omp(signals, dictionary, max_atoms=max_atoms, selection=selection)
        residual = signals - codes.dense().astype(np.float64) @ dictionary
        picked = np.take_along_axis(residual @ dictionary.T, codes.indices, axis=1)
        assert np.max(np.abs(picked)) < 1e-5 * np.max(np.linalg.norm(signals, axis=1))
        norms.append(np.sum(residual**2, axis=1))
        assert np.all(norms[-1] < norms[-2])


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_tolerance_is_met_with_as_few_atoms_as_the_pursuit_allows(rng, selection, dtype):
    signals, dictionary = problem(rng, dtype=dtype)
    tolerance = 6.0
    codes = srdfast.omp(signals, dictionary, max_atoms=32, tolerance=tolerance, selection=selection)
    assert len(set(codes.counts)) > 2
    for x, support in zip(signals.astype(np.float64), codes.indices, strict=True):
        chosen = support[support >= 0]
        left = [np.sum(reference.fit(x, dictionary, chosen[:n])[1] ** 2) for n in range(len(chosen) + 1)]
        assert left[-1] <= tolerance * (1 + 1e-5)
        assert all(norm > tolerance * (1 - 1e-5) for norm in left[:-1])


def test_a_tolerance_above_the_signal_picks_nothing(rng):
    signals, dictionary = problem(rng, batch=4)
    codes = srdfast.omp(signals, dictionary, max_atoms=3, tolerance=1e6)
    assert np.all(codes.counts == 0) and np.all(codes.indices == -1) and not np.any(codes.values)
    assert not np.any(codes.reconstruct(dictionary))


def test_scikit_learn_agrees_on_raw_atoms(rng):
    orthogonal_mp_gram = pytest.importorskip("sklearn.linear_model").orthogonal_mp_gram
    signals, dictionary = problem(rng, dtype=np.float64, unit=False)
    gram, correlations = dictionary @ dictionary.T, dictionary @ signals.T
    theirs = orthogonal_mp_gram(gram, correlations, n_nonzero_coefs=5).T
    for dtype, atol in ((np.float32, 1e-4), (np.float64, 1e-11)):
        ours = srdfast.omp(signals.astype(dtype), dictionary.astype(dtype), max_atoms=5).dense()
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)
    theirs = orthogonal_mp_gram(gram, correlations, tol=8.0, norms_squared=np.sum(signals**2, axis=1)).T
    ours = srdfast.omp(signals, dictionary, max_atoms=32, tolerance=8.0).dense()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11)


def test_spams_agrees_on_the_order_recursive_choice(rng):
    spams = pytest.importorskip("spams")
    signals, dictionary = problem(rng, dtype=np.float64)
    columns = np.asfortranarray(signals.T), np.asfortranarray(dictionary.T)
    theirs = spams.omp(*columns, L=5, eps=0.0, numThreads=1).toarray().T
    for dtype, atol in ((np.float32, 1e-4), (np.float64, 1e-11)):
        ours = srdfast.omp(signals.astype(dtype), dictionary.astype(dtype), max_atoms=5, selection="residual")
        np.testing.assert_allclose(ours.dense(), theirs, rtol=0, atol=atol)
    theirs = spams.omp(*columns, L=32, eps=8.0, numThreads=1).toarray().T
    ours = srdfast.omp(signals, dictionary, max_atoms=32, tolerance=8.0, selection="residual")
    np.testing.assert_allclose(ours.dense(), theirs, rtol=0, atol=1e-11)


def test_the_two_selections_differ_and_both_are_needed(rng):
    signals, dictionary = problem(rng)
    plain = srdfast.omp(signals, dictionary, max_atoms=5)
    recursive = srdfast.omp(signals, dictionary, max_atoms=5, selection="residual")
    assert np.any(plain.indices != recursive.indices)
    np.testing.assert_array_equal(
        plain.indices[:, 0], recursive.indices[:, 0]
    )  # unit atoms: the first pick is the same


@pytest.mark.parametrize("selection", SELECTIONS)
def test_ties_go_to_the_lowest_index(rng, selection):
    signals, dictionary = problem(rng, atoms=20)
    repeated = np.concatenate([dictionary, dictionary[::-1], -dictionary])  # every atom three times
    codes = srdfast.omp(signals, repeated, max_atoms=5, selection=selection)
    assert np.all(codes.indices < 20)
    alone = srdfast.omp(signals, dictionary, max_atoms=5, selection=selection)
    np.testing.assert_array_equal(codes.indices, alone.indices)
    np.testing.assert_allclose(codes.values, alone.values, atol=1e-5)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_dependent_atoms_are_skipped_and_the_pursuit_stops_when_none_is_left(rng, selection):
    _, plane = problem(rng, atoms=2, features=8)
    mixed = rng.normal(size=(6, 2)).astype(np.float32) @ plane
    signals = rng.normal(size=(12, 8)).astype(np.float32)
    codes = srdfast.omp(signals, np.concatenate([plane, mixed]), max_atoms=6, selection=selection)
    assert np.all(codes.counts == 2), "eight atoms, but they span a plane"
    assert np.all(np.isfinite(codes.values))


@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_signal_of_few_atoms_is_found_again(rng, selection):
    _, dictionary = problem(rng, atoms=40, features=64)
    truth = np.zeros((10, 40), np.float32)
    for row in truth:
        row[rng.choice(40, 3, replace=False)] = rng.choice([-1, 1], 3) * rng.uniform(1, 2, 3)
    codes = srdfast.omp(truth @ dictionary, dictionary, max_atoms=3, selection=selection)
    np.testing.assert_allclose(codes.dense(), truth, atol=1e-5)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_degenerate_inputs(rng, selection):
    signals, dictionary = problem(rng, batch=6, atoms=3, features=5)
    signals[2] = 0
    dictionary[1] = 0
    codes = srdfast.omp(signals, dictionary, max_atoms=9, selection=selection)
    assert codes.indices.shape == (6, 9)
    assert codes.counts[2] == 0 and not np.any(codes.values[2])
    assert np.all(np.delete(codes.counts, 2) == 2) and not np.any(codes.indices == 1)
    empty = srdfast.omp(signals[:0], dictionary, max_atoms=2, selection=selection)
    assert empty.indices.shape == empty.values.shape == (0, 2) and empty.counts.shape == (0,)
    assert empty.dense().shape == (0, 3) and empty.reconstruct(dictionary).shape == (0, 5)
    assert np.all(
        srdfast.omp(signals, np.zeros_like(dictionary), max_atoms=2, selection=selection).counts == 0
    )


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_the_support_does_not_depend_on_the_unit_of_the_signal(rng, scale):
    signals, dictionary = problem(rng)
    plain = srdfast.omp(signals, dictionary, max_atoms=4)
    scaled = srdfast.omp(signals * np.float32(scale), dictionary, max_atoms=4)
    np.testing.assert_array_equal(scaled.indices, plain.indices)
    np.testing.assert_allclose(scaled.values / np.float32(scale), plain.values, rtol=1e-4, atol=1e-6)


@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(0, 9),
    atoms=st.integers(1, 40),
    features=st.integers(1, 40),
    max_atoms=st.integers(1, 12),
    tolerance=st.sampled_from([0.0, 1e-3, 1.0, 10.0]),
    selection=st.sampled_from(SELECTIONS),
)
def test_any_problem_gives_a_valid_pursuit(seed, batch, atoms, features, max_atoms, tolerance, selection):
    signals, dictionary = problem(np.random.default_rng(seed), batch, atoms, features)
    codes = srdfast.omp(signals, dictionary, max_atoms=max_atoms, tolerance=tolerance, selection=selection)
    assert np.all(np.isfinite(codes.values))
    assert np.all(codes.counts == np.sum(codes.indices >= 0, axis=1))
    assert np.all(codes.counts <= min(max_atoms, atoms, features))
    residual = signals - codes.dense().astype(np.float64) @ dictionary
    assert np.all(np.sum(residual**2, axis=1) <= np.sum(signals.astype(np.float64) ** 2, axis=1) * (1 + 1e-5))
