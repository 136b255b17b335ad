# SPDX-License-Identifier: Apache-2.0
"""What one image costs beside convolutional basis pursuit as STL uses it (Sun et al., CVPR 2019).

Another method: there are no equal answers to compare, only the same task, so both must be near the image.
"""

import numpy as np
import pytest

import srdfast

NAME = "one 32x32x3 image"


@pytest.fixture
def image(crops):
    return crops(1, 3, 32, 32)


def near(image, rebuilt):
    error = np.linalg.norm(image - rebuilt) / np.linalg.norm(image)
    assert error < 0.2, f"relative error {error:.2f}"


def bench_srdfast(timed, problem, image):
    prepared = srdfast.prepare(problem(192, 256)[1])

    def purify():
        low, high = srdfast.split(image)
        return low + srdfast.purify_patches(high, prepared, srdfast.OMP(4))

    near(image, purify())
    timed(
        purify, "convolutional", NAME, "srdfast", 1, "images", rounds=50, notes="split and OMP(4), stride 2"
    )


def bench_sporco(timed, problem, threads, image, quick):
    cbpdn, signal = pytest.importorskip("sporco.admm.cbpdn"), pytest.importorskip("sporco.signal")
    pytest.importorskip("sporco.fft").pyfftw_threads = threads
    atoms = problem(192, 256)[1][:64].reshape(64, 3, 8, 8)
    filters = np.ascontiguousarray(atoms.transpose(2, 3, 1, 0))  # [8, 8, channels, filters]
    pixels = np.ascontiguousarray(image[0].transpose(1, 2, 0))
    options = cbpdn.ConvBPDN.Options({"MaxMainIter": 20} if quick else {})

    def purify():
        low, high = signal.tikhonov_filter(pixels, 5, npd=16)
        solver = cbpdn.ConvBPDN(filters, high, 0.2, options, dimK=0)
        solver.solve()
        return low + solver.reconstruct().squeeze()

    near(pixels, purify())
    timed(
        purify, "convolutional", NAME, "sporco ConvBPDN", 1, "images", rounds=1,
        notes="64 filters 8x8x3, another method",
    )  # fmt: skip
