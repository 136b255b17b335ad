# SPDX-License-Identifier: Apache-2.0
"""The Tikhonov split beside SPORCO's padded periodic transform and scipy's cosine transform."""

import numpy as np
import pytest
from scipy.fft import dctn, idctn

import srdfast


def in_scipy(images, workers):
    """The exact filter as a scipy user writes it."""
    rows, cols = (2 - 2 * np.cos(np.pi * np.arange(n) / n) for n in images.shape[-2:])
    gain = (1 / (1 + 5.0 * (rows[:, None] + cols))).astype(np.float32)
    spectrum = dctn(images, axes=(-2, -1), norm="ortho", workers=workers)
    low = idctn(spectrum * gain, axes=(-2, -1), norm="ortho", workers=workers)
    return low, images - low


@pytest.mark.benchmark(group="split")
@pytest.mark.parametrize("library", ["srdfast", "sporco", "scipy"])
def bench_split(benchmark, size, threads, library):
    """Both bands of a batch of images."""
    images = (
        np.random.default_rng(0).random((size("images"), 3, size("side"), size("side"))).astype(np.float32)
    )
    ours = srdfast.split(images)[0]
    if library == "sporco":
        signal = pytest.importorskip("sporco.signal")
        last = np.ascontiguousarray(images.transpose(2, 3, 0, 1))  # [height, width, batch, channels]
        call, read = (
            lambda: signal.tikhonov_filter(last, 5, npd=16),
            lambda bands: bands[0].transpose(2, 3, 0, 1),
        )
    elif library == "scipy":
        call, read = lambda: in_scipy(images, threads), lambda bands: bands[0]
    else:
        call, read = lambda: srdfast.split(images), lambda bands: bands[0]
    inside = (slice(None), slice(None), slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(read(call())[inside], ours[inside], atol=1e-4)
    benchmark(call)
