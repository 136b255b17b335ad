# SPDX-License-Identifier: Apache-2.0
"""Stratified Convolutional Sparse Coding (STL; Sun et al. 2019, arXiv 1812.00037), by its authors' library.

The closest relative of srdfast: the same split, then convolutional sparse coding of the high band in ONE
dictionary of 8 x 8 x 3 filters, learned from clean images. SPORCO's `ConvBPDN` and `tikhonov_filter` do both
here, one image at a time, with the authors' settings; the division by the largest pixel, which their program
makes when it writes a file, is left out. It needs the package sporco, and seconds an image.
"""

from __future__ import annotations

import numpy as np

from ..rivals import Purify, on_numpy

FILTERS, SIDE = 64, 8
PENALTY, ITERATIONS, STOP = 0.2, 200, 5e-3
STRENGTH, PADDING = 5, 16  # of the split


def stl(filters: np.ndarray, penalty: float = PENALTY, iterations: int = ITERATIONS) -> Purify:
    """Low band + convolutional sparse code of the high band.

    Args:
        filters: float32 [side, side, 3, count].
        penalty: of the l1 norm of the code.
        iterations: of ADMM at most.
    """
    from sporco.admm.cbpdn import ConvBPDN
    from sporco.signal import tikhonov_filter

    options = ConvBPDN.Options(
        {"Verbose": False, "MaxMainIter": iterations, "RelStopTol": STOP, "AuxVarObj": False}
    )

    def once(image: np.ndarray) -> np.ndarray:  # [height, width, 3]
        low, high = tikhonov_filter(image, STRENGTH, PADDING)
        solver = ConvBPDN(filters, high, penalty, options)
        solver.solve()
        return low + solver.reconstruct().squeeze()

    def purify(images: np.ndarray) -> np.ndarray:
        return np.stack([once(image) for image in images.transpose(0, 2, 3, 1)]).transpose(0, 3, 1, 2)

    return on_numpy(purify)


def learn_filters(images: np.ndarray, rounds: int = 200, seed: int = 0) -> np.ndarray:
    """One dictionary for all images, by online convolutional dictionary learning, an image a round.

    Args:
        images: uint8 [n, 3, height, width], clean.
        rounds: images taken, drawn at random.
        seed: of the draw and the first filters.

    Returns:
        Filters, float32 [8, 8, 3, 64].
    """
    from sporco.dictlrn.onlinecdl import OnlineConvBPDNDictLearn
    from sporco.signal import tikhonov_filter

    source = np.random.default_rng(seed)
    first = source.standard_normal((SIDE, SIDE, 3, FILTERS)).astype(np.float32)
    options = OnlineConvBPDNDictLearn.Options(
        {
            "Verbose": False,
            "ZeroMean": False,
            "eta_a": 10.0,
            "eta_b": 20.0,
            "CBPDN": {"rho": 5.0, "AutoRho": {"Enabled": True}, "RelaxParam": 1.8, "MaxMainIter": 50},
        }
    )
    learner = OnlineConvBPDNDictLearn(first, PENALTY, options)
    for row in source.integers(len(images), size=rounds):
        image = images[row].transpose(1, 2, 0).astype(np.float32) / 255
        learner.solve(tikhonov_filter(image, STRENGTH, PADDING)[1])
    return np.asarray(learner.getdict().squeeze(), np.float32)
