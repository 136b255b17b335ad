# SPDX-License-Identifier: Apache-2.0
"""OMP beside SPAMS (order-recursive selection) and scikit-learn (plain selection)."""

import numpy as np
import pytest

import srdfast


def answers(library, signals, dictionary, max_atoms, threads):
    """The library's call, after the conversions that its layout asks for, and how to read its codes."""
    if library.startswith("srdfast"):
        selection = library.split()[1]
        return (
            lambda: srdfast.omp(signals, dictionary, max_atoms=max_atoms, selection=selection),
            lambda codes: codes.dense(),
        )
    if library == "spams":
        spams = pytest.importorskip("spams")
        columns = np.asfortranarray(signals.T), np.asfortranarray(dictionary.T)
        return (
            lambda: spams.omp(*columns, L=max_atoms, eps=0.0, numThreads=threads),
            lambda codes: codes.toarray().T,
        )
    sklearn = pytest.importorskip("sklearn.linear_model")
    return (
        lambda: sklearn.orthogonal_mp_gram(
            dictionary @ dictionary.T, dictionary @ signals.T, n_nonzero_coefs=max_atoms
        ),
        lambda codes: codes.T,
    )


@pytest.mark.benchmark(group="omp")
@pytest.mark.parametrize("library", ["srdfast residual", "spams", "srdfast correlation", "scikit-learn"])
def bench_omp(benchmark, problem, size, threads, library):
    """Codes of the whole batch."""
    signals, dictionary = problem
    selection = "residual" if library in ("srdfast residual", "spams") else "correlation"
    ours = srdfast.omp(signals, dictionary, max_atoms=size("max_atoms"), selection=selection).reconstruct(
        dictionary
    )
    call, read = answers(library, signals, dictionary, size("max_atoms"), threads)
    theirs = read(call()) @ dictionary
    agree = np.max(np.abs(ours - theirs), axis=1) < 1e-3
    assert np.mean(agree) > 0.999, f"{library} disagrees on {np.sum(~agree)} signals"
    benchmark(call)
    benchmark.extra_info["signals per second"] = (
        len(signals) / benchmark.stats["mean"] if benchmark.stats else None
    )
