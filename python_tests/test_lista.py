# SPDX-License-Identifier: Apache-2.0
"""Learned shrinkage steps: the float64 reference, ISTA as a special case, and the lasso as its limit."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

import srdfast


def problem(rng, batch=20, atoms=48, features=24, dtype=np.float32):
    """signals [batch, features], analysis and synthesis [atoms, features], thresholds [atoms]."""
    analysis, synthesis = rng.normal(size=(2, atoms, features)) / np.sqrt(features)
    arrays = (
        rng.normal(size=(batch, features)),
        0.3 * analysis,
        rng.uniform(0.01, 0.3, atoms),
        0.3 * synthesis,
    )
    return tuple(array.astype(dtype) for array in arrays)


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
@pytest.mark.parametrize("dtype, atol", [(np.float32, 1e-5), (np.float64, 1e-13)])
def test_the_float64_reference_is_matched(rng, steps, dtype, atol):
    signals, analysis, thresholds, synthesis = problem(rng, dtype=dtype)
    codes = srdfast.lista(signals, analysis, thresholds, synthesis, steps=steps)
    assert codes.values.shape == (20, 48) and codes.values.dtype == dtype
    expected = reference.lista(signals, analysis, thresholds, synthesis, steps)
    assert 0.05 < np.mean(expected != 0) < 0.95
    np.testing.assert_allclose(codes.values, expected, rtol=0, atol=atol)
    np.testing.assert_array_equal(codes.dense(), codes.values)
    np.testing.assert_allclose(codes.reconstruct(synthesis), codes.values @ synthesis, atol=1e-5)


def ista(x, dictionary, penalty, steps):
    """Iterative shrinkage of one signal with the step 1 / L, L the largest eigenvalue of D D^T."""
    lipschitz = np.linalg.norm(dictionary, 2) ** 2
    z = np.zeros(len(dictionary))
    for _ in range(steps):
        slope = -(x - z @ dictionary) @ dictionary.T
        z = reference.shrink(z - slope / lipschitz, penalty / lipschitz)
    return z


def test_with_the_scaled_dictionary_it_is_ista_and_ends_at_the_lasso(rng):
    signals, _, _, dictionary = problem(rng, batch=6, dtype=np.float64)
    penalty, lipschitz = 0.1, np.linalg.norm(dictionary, 2) ** 2
    learned = dictionary / lipschitz, np.full(len(dictionary), penalty / lipschitz), dictionary
    for steps in (1, 4):
        codes = srdfast.lista(signals, *learned, steps=steps)
        np.testing.assert_allclose(
            codes.values, [ista(x, dictionary, penalty, steps) for x in signals], atol=1e-12
        )
    limit = srdfast.lista(signals, *learned, steps=3000).values
    best = reference.lasso_objective(
        signals, dictionary, reference.lasso(signals, dictionary, penalty), penalty
    )
    np.testing.assert_allclose(
        reference.lasso_objective(signals, dictionary, limit, penalty), best, rtol=1e-6
    )


def test_one_step_is_shrunk_analysis(rng):
    signals, analysis, thresholds, synthesis = problem(rng)
    codes = srdfast.lista(signals, analysis, thresholds, synthesis)
    np.testing.assert_allclose(codes.values, reference.shrink(signals @ analysis.T, thresholds), atol=1e-6)


def test_zero_and_infinite_thresholds_are_the_two_ends(rng):
    signals, analysis, thresholds, synthesis = problem(rng)
    linear = srdfast.lista(signals, analysis, np.zeros_like(thresholds), synthesis)
    np.testing.assert_allclose(linear.values, signals @ analysis.T, atol=1e-6)
    nothing = srdfast.lista(signals, analysis, np.full_like(thresholds, 1e6), synthesis, steps=3)
    assert not np.any(nothing.values)


@pytest.mark.parametrize("features", [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 192])
def test_sizes_at_the_edges_of_vectors(rng, features):
    for atoms in (1, 5, 16, 33):
        for batch in (0, 1, 3, 17):
            problem_ = problem(rng, batch, atoms, features)
            for steps in (1, 3):
                codes = srdfast.lista(*problem_, steps=steps)
                np.testing.assert_allclose(codes.values, reference.lista(*problem_, steps), atol=1e-5)


def test_degenerate_inputs(rng):
    signals, analysis, thresholds, synthesis = problem(rng)
    signals[3] = 0
    analysis[5] = 0
    codes = srdfast.lista(signals, analysis, thresholds, synthesis, steps=2)
    assert not np.any(codes.values[3]) and not np.any(codes.values[:, 5])


@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(0, 9),
    atoms=st.integers(1, 40),
    features=st.integers(1, 40),
    steps=st.integers(1, 4),
)
def test_any_problem_matches_the_reference(seed, batch, atoms, features, steps):
    problem_ = problem(np.random.default_rng(seed), batch, atoms, features)
    expected = reference.lista(*problem_, steps)
    scale = max(1.0, np.max(np.abs(expected), initial=0.0))
    np.testing.assert_allclose(srdfast.lista(*problem_, steps=steps).values, expected, atol=1e-5 * scale)
