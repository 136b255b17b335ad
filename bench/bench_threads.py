# SPDX-License-Identifier: Apache-2.0
"""All threads beside one: what they bring to a large batch, and that they do no harm to a single image."""

import numpy as np
import pytest

import srdfast

NOISE = 1.05  # between two medians of the same call


@pytest.fixture
def calls(problem, learned, crops, sized):
    """A call of each kernel, how many items it has, and what they are."""
    signals, dictionary = problem(64, 256)
    images, one = (srdfast.split(crops(count, 3, 32, 32))[1] for count in (sized(1024, 4), 1))
    synthesis, analysis, thresholds = learned(64, 256)
    atoms = srdfast.prepare(learned(192, 256)[0])
    return {
        "omp": (lambda: srdfast.omp(signals, dictionary).values, len(signals), "signals"),
        "lasso": (lambda: srdfast.lasso(signals, dictionary).values, len(signals), "signals"),
        "lista": (
            lambda: srdfast.lista(signals, analysis, thresholds, synthesis, 3).values, len(signals), "signals"
        ),
        "purify": (lambda: srdfast.purify_patches(images, atoms, srdfast.OMP()), len(images), "images"),
        "purify, one image": (lambda: srdfast.purify_patches(one, atoms, srdfast.OMP()), 1, "images"),
    }  # fmt: skip


@pytest.mark.parametrize("kernel", ["omp", "lasso", "lista", "purify", "purify, one image"])
def bench_threads(timed, calls, threads, quick, kernel):
    if threads == 1:
        pytest.skip("one thread")
    call, count, unit = calls[kernel]

    def alone():
        """The same call on one thread; it leaves the thread count as it was."""
        srdfast.set_num_threads(1)
        try:
            return call()
        finally:
            srdfast.set_num_threads(threads)

    np.testing.assert_array_equal(alone(), call())
    medians = timed(
        call, "threads", kernel, "srdfast", count, unit,
        rounds=50 if count == 1 else 5, beside={"one": alone},
        describe=lambda found: f"{threads} threads {found['one'] / found['call']:.2f} x as fast as 1",
    )  # fmt: skip
    assert quick or medians["call"] <= NOISE * medians["one"]
