# SPDX-License-Identifier: Apache-2.0
"""OMP beside SPAMS (selection by residual) and scikit-learn (by correlation): like with like."""

import itertools

import numpy as np
import pytest

import srdfast
from srdfast.microbench import omp_work

FEW = 2000  # signals for scikit-learn, which loops over them in Python
CASES = list(itertools.product((64, 192), (256, 512), (4, 8)))


def check(ours, theirs, signals):
    """Nearly all signals are rebuilt alike; ties and rounding may send a few another way."""
    different = np.sum(np.max(np.abs(ours - theirs), axis=1) > 1e-3)
    assert different <= 1 + 0.01 * len(signals), f"{different} of {len(signals)} signals differ"


def mean_square(signals, rebuilt):
    return np.mean(np.sum((signals - rebuilt) ** 2, axis=1, dtype=np.float64))


def case(features, atoms, max_atoms, selection):
    return f"{features} features, {atoms} atoms, L={max_atoms}, {selection}"


@pytest.mark.parametrize("selection", ["residual", "correlation"])
@pytest.mark.parametrize(("features", "atoms", "max_atoms"), CASES)
def bench_srdfast(timed, problem, features, atoms, max_atoms, selection):
    signals, dictionary = problem(features, atoms)
    timed(
        lambda: srdfast.omp(signals, dictionary, max_atoms, selection=selection),
        "omp", case(features, atoms, max_atoms, selection), "srdfast", len(signals), "signals",
        work=omp_work(features, atoms, max_atoms, selection),
    )  # fmt: skip


@pytest.mark.parametrize(("features", "atoms", "max_atoms"), CASES)
def bench_spams(timed, problem, threads, features, atoms, max_atoms):
    spams = pytest.importorskip("spams")
    signals, dictionary = problem(features, atoms)
    columns = np.asfortranarray(signals.T), np.asfortranarray(dictionary.T)

    def call():
        return spams.omp(*columns, L=max_atoms, eps=0.0, numThreads=threads)

    ours = srdfast.omp(signals, dictionary, max_atoms, selection="residual").reconstruct(dictionary)
    theirs = call().T @ dictionary
    assert mean_square(signals, ours) <= mean_square(signals, theirs) * (1 + 1e-4)
    check(ours, theirs, signals)
    timed(
        call, "omp", case(features, atoms, max_atoms, "residual"), "spams", len(signals), "signals", rounds=3
    )


def bench_sklearn(timed, problem, sized):
    linear_model = pytest.importorskip("sklearn.linear_model")
    signals, dictionary = problem(64, 256)
    signals = signals[: sized(FEW, 50)]

    def call():
        gram, products = dictionary @ dictionary.T, dictionary @ signals.T
        return linear_model.orthogonal_mp_gram(gram, products, n_nonzero_coefs=4)

    check(srdfast.omp(signals, dictionary, 4).reconstruct(dictionary), call().T @ dictionary, signals)
    timed(
        call, "omp", case(64, 256, 4, "correlation"), "scikit-learn", len(signals), "signals", rounds=3,
        notes=f"on {len(signals):,} signals, ratio per signal",
    )  # fmt: skip
