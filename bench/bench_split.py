# SPDX-License-Identifier: Apache-2.0
"""The Tikhonov split beside SPORCO's padded periodic transform and scipy's cosine transform."""

import numpy as np
import pytest
from scipy.fft import dctn, idctn

import srdfast
from srdfast.microbench import split_work


def in_scipy(images, workers):
    """The exact filter as a scipy user writes it."""
    rows, cols = (2 - 2 * np.cos(np.pi * np.arange(n) / n) for n in images.shape[-2:])
    gain = (1 / (1 + 5.0 * (rows[:, None] + cols))).astype(np.float32)
    spectrum = dctn(images, axes=(-2, -1), norm="ortho", workers=workers)
    low = idctn(spectrum * gain, axes=(-2, -1), norm="ortho", workers=workers)
    return low, images - low


def in_sporco(images, threads):
    """SPORCO wants the pixels first; its padding of 16 pixels makes it exact only away from the border."""
    signal, fft = pytest.importorskip("sporco.signal"), pytest.importorskip("sporco.fft")
    fft.pyfftw_threads = threads
    last = np.ascontiguousarray(images.transpose(2, 3, 0, 1))  # [height, width, batch, channels]
    return lambda: signal.tikhonov_filter(last, 5, npd=16), lambda bands: bands[0].transpose(2, 3, 0, 1)


@pytest.mark.parametrize("library", ["srdfast", "srdfast, new arrays", "sporco", "scipy"])
@pytest.mark.parametrize("shape", [(1, 3, 1080, 1920), (256, 3, 32, 32)], ids=["frame", "images"])
def bench_split(timed, crops, threads, quick, shape, library):
    if quick:
        shape = (*np.minimum(shape[:2], 4), *np.minimum(shape[2:], 64))
    count, channels, height, width = map(int, shape)
    images = crops(count, channels, height, width)
    out = np.empty_like(images), np.empty_like(images)
    call, read = {
        "srdfast": lambda: (lambda: srdfast.split(images, out=out), lambda bands: bands[0]),
        "srdfast, new arrays": lambda: (lambda: srdfast.split(images), lambda bands: bands[0]),
        "scipy": lambda: (lambda: in_scipy(images, threads), lambda bands: bands[0]),
        "sporco": lambda: in_sporco(images, threads),
    }[library]()
    inside = (..., slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(read(call())[inside], srdfast.split(images)[0][inside], atol=1e-3)
    timed(
        call, "split", f"{count} x {width}x{height}x{channels}", library, count, "images",
        work=split_work((channels, height, width)), rounds=7 if library.startswith("srdfast") else 3,
    )  # fmt: skip
