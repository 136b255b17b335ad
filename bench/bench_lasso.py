# SPDX-License-Identifier: Apache-2.0
"""The lasso beside SPAMS (exact, LARS) and scikit-learn (coordinate descent), at the same objective."""

import numpy as np
import pytest

import srdfast

PENALTY = 0.1


def mean_objective(signals, dictionary, codes):
    """The mean of 1/2 |x - zD|^2 + penalty |z|_1."""
    residual = signals - codes @ dictionary
    return np.mean(0.5 * np.sum(residual**2, axis=1) + PENALTY * np.sum(np.abs(codes), axis=1))


def answers(library, signals, dictionary, threads):
    """The library's call and how to read its codes [batch, atoms]."""
    if library == "srdfast":
        return lambda: srdfast.lasso(signals, dictionary, penalty=PENALTY), lambda codes: codes.values
    if library == "spams":
        spams = pytest.importorskip("spams")
        columns = np.asfortranarray(signals.T), np.asfortranarray(dictionary.T)
        return (
            lambda: spams.lasso(*columns, lambda1=PENALTY, mode=2, numThreads=threads),
            lambda codes: codes.toarray().T,
        )
    linear_model = pytest.importorskip("sklearn.linear_model")
    model = linear_model.Lasso(
        alpha=PENALTY / signals.shape[1], fit_intercept=False, precompute=True, tol=1e-4
    )
    return lambda: model.fit(dictionary.T, signals.T), lambda fitted: fitted.coef_


@pytest.mark.benchmark(group="lasso")
@pytest.mark.parametrize("library", ["srdfast", "spams", "scikit-learn"])
def bench_lasso(benchmark, problem, threads, library):
    """Codes of the whole batch."""
    signals, dictionary = problem
    ours = mean_objective(signals, dictionary, srdfast.lasso(signals, dictionary, penalty=PENALTY).values)
    call, read = answers(library, signals, dictionary, threads)
    theirs = mean_objective(signals, dictionary, read(call()))
    assert abs(ours / theirs - 1) < 1e-3, f"mean objective {ours:.6f} against {theirs:.6f} of {library}"
    benchmark(call)
