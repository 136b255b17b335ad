# SPDX-License-Identifier: Apache-2.0
"""The lasso: objective, optimality conditions and certificate, against float64, scikit-learn and SPAMS."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

import srdfast


def problem(rng, batch=24, atoms=40, features=24, dtype=np.float32):
    """Random signals [batch, features] and unit atoms [atoms, features]."""
    dictionary = rng.normal(size=(atoms, features))
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    return rng.normal(size=(batch, features)).astype(dtype), dictionary.astype(dtype)


def half_norms(signals):
    """1/2 |x|^2 of every row: the unit of the gap tolerance."""
    return 0.5 * np.sum(signals.astype(np.float64) ** 2, axis=1)


def suboptimality(signals, dictionary, codes, penalty):
    """How far every row's objective lies above the optimum, in float64."""
    x, atoms = signals.astype(np.float64), dictionary.astype(np.float64)
    best = reference.lasso_objective(x, atoms, reference.lasso(x, atoms, penalty), penalty)
    return reference.lasso_objective(x, atoms, codes.values.astype(np.float64), penalty) - best


@pytest.mark.parametrize("penalty", [0.05, 0.1, 0.5, 1.5])
@pytest.mark.parametrize("dtype, accuracy", [(np.float32, 1e-6), (np.float64, 1e-9)])
def test_the_objective_is_the_optimum(rng, penalty, dtype, accuracy):
    signals, dictionary = problem(rng, dtype=dtype)
    codes = srdfast.lasso(signals, dictionary, penalty=penalty, gap_tolerance=accuracy / 4, max_sweeps=20_000)
    assert codes.values.shape == (24, 40) and codes.values.dtype == dtype
    above = suboptimality(signals, dictionary, codes, penalty)
    assert np.all(above <= accuracy * half_norms(signals))
    assert np.all(above >= -1e-9)


@pytest.mark.parametrize("gap_tolerance", [1e-1, 1e-2, 1e-4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gap_is_a_certificate(rng, gap_tolerance, dtype):
    signals, dictionary = problem(rng, dtype=dtype)
    codes = srdfast.lasso(signals, dictionary, penalty=0.1, gap_tolerance=gap_tolerance, max_sweeps=20_000)
    assert codes.gap.shape == (24,) and codes.gap.dtype == dtype
    assert np.all(codes.gap >= 0)
    assert np.all(codes.gap <= gap_tolerance * half_norms(signals) * (1 + 1e-5))
    above = suboptimality(signals, dictionary, codes, 0.1)
    rounding = (1e-6 if dtype == np.float32 else 1e-13) * half_norms(signals)
    assert np.all(above <= codes.gap + rounding)
    true_gap = reference.lasso_gap(
        signals.astype(np.float64), dictionary.astype(np.float64), codes.values.astype(np.float64), 0.1
    )
    np.testing.assert_array_less(np.abs(codes.gap - true_gap), 2 * rounding)


def test_a_looser_gap_costs_a_larger_objective_and_a_sweep_limit_is_honest(rng):
    signals, dictionary = problem(rng)
    tight = srdfast.lasso(signals, dictionary, penalty=0.1, gap_tolerance=1e-6)
    stopped = srdfast.lasso(signals, dictionary, penalty=0.1, gap_tolerance=1e-6, max_sweeps=1)
    assert np.any(stopped.gap > 1e-6 * half_norms(signals)), "one sweep is not enough, and the gap says so"
    above_tight = suboptimality(signals, dictionary, tight, 0.1)
    above_stopped = suboptimality(signals, dictionary, stopped, 0.1)
    assert np.all(above_stopped <= stopped.gap * (1 + 1e-5) + 1e-6)
    assert np.sum(above_tight) < np.sum(above_stopped)


def test_the_optimality_conditions_hold(rng):
    signals, dictionary = problem(rng, dtype=np.float64)
    penalty = 0.3
    codes = srdfast.lasso(signals, dictionary, penalty=penalty, gap_tolerance=1e-12, max_sweeps=20_000).values
    slope = (signals - codes @ dictionary) @ dictionary.T  # [batch, atoms]
    active = codes != 0
    assert 0 < np.mean(active) < 0.5
    np.testing.assert_allclose(slope[active], penalty * np.sign(codes[active]), atol=1e-5)
    assert np.max(np.abs(slope)) <= penalty + 1e-5


def test_scikit_learn_agrees(rng):
    linear_model = pytest.importorskip("sklearn.linear_model")
    signals, dictionary = problem(rng, batch=8, dtype=np.float64)
    penalty, features = 0.2, signals.shape[1]
    ours = srdfast.lasso(signals, dictionary, penalty=penalty, gap_tolerance=1e-12, max_sweeps=20_000)
    single = srdfast.lasso(
        signals.astype(np.float32),
        dictionary.astype(np.float32),
        penalty=penalty,
        gap_tolerance=2e-7,
        max_sweeps=20_000,
    )
    for x, code, code32 in zip(signals, ours.values, single.values, strict=True):
        theirs = (
            linear_model.Lasso(alpha=penalty / features, fit_intercept=False, tol=1e-12, max_iter=100_000)
            .fit(dictionary.T, x)
            .coef_
        )
        np.testing.assert_allclose(code, theirs, atol=1e-5)
        objective = [
            reference.lasso_objective(x[None], dictionary, z[None], penalty)[0]
            for z in (code, code32, theirs)
        ]
        assert objective[0] <= objective[2] * (1 + 1e-9)
        assert objective[1] <= objective[2] * (1 + 1e-6)


def test_spams_agrees(rng):
    spams = pytest.importorskip("spams")
    signals, dictionary = problem(rng, dtype=np.float64)
    theirs = spams.lasso(
        np.asfortranarray(signals.T), np.asfortranarray(dictionary.T), lambda1=0.2, mode=2, numThreads=1
    )
    ours = srdfast.lasso(signals, dictionary, penalty=0.2, gap_tolerance=1e-12, max_sweeps=20_000)
    np.testing.assert_allclose(ours.values, theirs.toarray().T, atol=1e-5)


def test_a_large_penalty_gives_exactly_zero(rng):
    signals, dictionary = problem(rng)
    largest = np.max(np.abs(signals.astype(np.float64) @ dictionary.T.astype(np.float64)))
    codes = srdfast.lasso(signals, dictionary, penalty=float(largest) * (1 + 1e-6))
    assert not np.any(codes.values)
    np.testing.assert_allclose(codes.gap, 0, atol=1e-5)
    just_below = srdfast.lasso(signals, dictionary, penalty=float(largest) * 0.99, gap_tolerance=1e-7)
    assert np.count_nonzero(just_below.values) == 1


def test_a_small_penalty_is_nearly_least_squares(rng):
    signals, dictionary = problem(rng, atoms=6, dtype=np.float64)
    codes = srdfast.lasso(signals, dictionary, penalty=1e-7, gap_tolerance=1e-9)
    expected = np.linalg.lstsq(dictionary.T, signals.T, rcond=None)[0].T
    np.testing.assert_allclose(codes.values, expected, atol=1e-3)


@pytest.mark.parametrize("features", [1, 2, 3, 7, 8, 9, 15, 17, 31, 33, 65, 192])
def test_sizes_at_the_edges_of_vectors(rng, features):
    for atoms in (1, 5, 16, 33):
        signals, dictionary = problem(rng, batch=5, atoms=atoms, features=features)
        codes = srdfast.lasso(signals, dictionary, penalty=0.1, gap_tolerance=1e-5, max_sweeps=100_000)
        above = suboptimality(signals, dictionary, codes, 0.1)
        assert np.all(above <= 2e-5 * half_norms(signals) + 1e-9)
        np.testing.assert_allclose(codes.reconstruct(dictionary), codes.values @ dictionary, atol=1e-5)
        np.testing.assert_array_equal(codes.dense(), codes.values)


def test_degenerate_inputs(rng):
    signals, dictionary = problem(rng, batch=6, atoms=9, features=5)
    signals[2] = 0
    dictionary[1] = 0
    dictionary[4] = dictionary[3]
    codes = srdfast.lasso(signals, dictionary, penalty=0.05)
    assert np.all(np.isfinite(codes.values)) and np.all(np.isfinite(codes.gap))
    assert not np.any(codes.values[2]) and codes.gap[2] == 0
    assert not np.any(codes.values[:, 1])
    above = suboptimality(signals, dictionary, codes, 0.05)
    assert np.all(above <= 1.1e-4 * half_norms(signals) + 1e-9)
    empty = srdfast.lasso(signals[:0], dictionary)
    assert empty.values.shape == (0, 9) and empty.gap.shape == (0,)
    assert not np.any(srdfast.lasso(signals, np.zeros_like(dictionary)).values)


def test_atoms_need_not_be_unit(rng):
    signals, dictionary = problem(rng)
    dictionary *= rng.uniform(0.3, 3, size=(len(dictionary), 1)).astype(np.float32)
    codes = srdfast.lasso(signals, dictionary, penalty=0.1, gap_tolerance=1e-4, max_sweeps=5000)
    above = suboptimality(signals, dictionary, codes, 0.1)
    assert np.all(above <= 1.1e-4 * half_norms(signals))


@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(0, 6),
    atoms=st.integers(1, 30),
    features=st.integers(1, 30),
    penalty=st.floats(0.01, 3.0),
)
def test_any_problem_ends_with_a_valid_certificate(seed, batch, atoms, features, penalty):
    signals, dictionary = problem(np.random.default_rng(seed), batch, atoms, features)
    codes = srdfast.lasso(signals, dictionary, penalty=penalty, gap_tolerance=1e-3, max_sweeps=100_000)
    assert np.all(codes.gap >= 0) and np.all(codes.gap <= 1e-3 * half_norms(signals) * (1 + 1e-4))
    above = suboptimality(signals, dictionary, codes, penalty)
    assert np.all(above <= codes.gap + 1e-6 * half_norms(signals))


@pytest.mark.parametrize(("dtype", "tight"), [(np.float32, 1e-5), (np.float64, 1e-10)])
def test_a_start_gives_the_same_answer_in_fewer_rounds(rng, dtype, tight):
    signals, dictionary = problem(rng, batch=200, dtype=dtype)
    near = signals + dtype(0.01) * rng.normal(size=signals.shape).astype(dtype)
    cold, before = (srdfast.lasso(x, dictionary, 0.3, tight) for x in (near, signals))
    warm = srdfast.lasso(near, dictionary, 0.3, tight, start=before.values)
    assert np.all(warm.gap <= tight * half_norms(near) * (1 + 1e-5))
    above = suboptimality(near, dictionary, warm, 0.3)
    assert np.all(above <= warm.gap + (1e-6 if dtype == np.float32 else 1e-13) * half_norms(near))
    apart = np.linalg.norm((warm.values - cold.values) @ dictionary, axis=1)
    assert np.all(apart <= 2 * np.sqrt(2 * tight * half_norms(near)))  # both are so near the best signal
    rounds = [rounds_of(near, dictionary, 0.3, tight, start) for start in (None, before.values, warm.values)]
    assert rounds[1].mean() < 0.3 * rounds[0].mean()
    assert rounds[2].mean() < 0.1  # what is certified already stays, but for rounding at the very limit


def rounds_of(signals, dictionary, penalty, gap_tolerance, start):
    """Rounds that each signal took; float32 or float64."""
    from srdfast import _core

    batch, atoms = len(signals), len(dictionary)
    values, gap = np.empty((batch, atoms), signals.dtype), np.empty(batch, signals.dtype)
    rounds = np.empty(batch, np.int32)
    _core.lasso(
        signals, dictionary[None], None, penalty, gap_tolerance, 1000, values, gap, None, start, rounds
    )
    return rounds


def test_a_bad_start_costs_rounds_and_no_precision(rng):
    signals, dictionary = problem(rng, batch=60)
    dictionary[5] = dictionary[4]  # a start on atoms that depend on one another
    starts = [
        1e3 * rng.normal(size=(60, 40)),
        np.ones((60, 40)),
        srdfast.lasso(-signals, dictionary).values,
        np.eye(40)[np.full(60, 5)] - np.eye(40)[np.full(60, 4)],
    ]
    for start in starts:
        codes = srdfast.lasso(signals, dictionary, 0.1, 1e-4, start=start.astype(np.float32))
        assert np.all(codes.gap <= 1e-4 * half_norms(signals) * (1 + 1e-4))
        above = suboptimality(signals, dictionary, codes, 0.1)
        assert np.all(above <= codes.gap + 1e-6 * half_norms(signals))


def test_a_start_is_a_matter_of_each_signal(rng):
    signals, dictionary = problem(rng, batch=33)
    start = srdfast.lasso(signals + np.float32(0.1), dictionary).values
    whole = srdfast.lasso(signals, dictionary, start=start)
    for i in (0, 7, 32):
        one = srdfast.lasso(signals[i : i + 1], dictionary, start=start[i : i + 1])
        np.testing.assert_array_equal(one.values[0], whole.values[i])


def test_a_start_is_checked(rng):
    signals, dictionary = problem(rng, batch=4)
    good = np.zeros((4, 40), np.float32)
    for start, error, text in (
        (good[:3], ValueError, "start"),
        (good[:, :39], ValueError, "start"),
        (good.astype(np.float64), TypeError, "start"),
        (np.full_like(good, np.nan), ValueError, "start"),
    ):
        with pytest.raises(error, match=text):
            srdfast.lasso(signals, dictionary, start=start)
