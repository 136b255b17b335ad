# SPDX-License-Identifier: Apache-2.0
"""Every coder behind one signature, so that what holds for all of them is tested once."""

import numpy as np

import srdfast


def problem(rng, batch=40, atoms=48, features=27, dictionaries=None, dtype=np.float32):
    """Random signals [batch, features] and unit atoms [(dictionaries,) atoms, features]."""
    shape = (atoms, features) if dictionaries is None else (dictionaries, atoms, features)
    dictionary = rng.normal(size=shape)
    dictionary /= np.linalg.norm(dictionary, axis=-1, keepdims=True)
    return rng.normal(size=(batch, features)).astype(dtype), dictionary.astype(dtype)


def omp(signals, dictionary, **options):
    """Plain selection."""
    codes = srdfast.omp(signals, dictionary, max_atoms=4, tolerance=5.0, **options)
    return codes.indices, codes.values, codes.counts


def omp_residual(signals, dictionary, **options):
    """Order-recursive selection."""
    codes = srdfast.omp(signals, dictionary, max_atoms=4, tolerance=5.0, selection="residual", **options)
    return codes.indices, codes.values, codes.counts


def lasso(signals, dictionary, **options):
    """A tight gap, so that the stopping sweep matters."""
    codes = srdfast.lasso(signals, dictionary, penalty=0.1, gap_tolerance=1e-5, **options)
    return codes.values, codes.gap


def lista(signals, dictionary, **options):
    """Three steps whose analysis atoms are the scaled synthesis atoms."""
    thresholds = dictionary[..., 0] * 0 + 0.05  # [..., atoms], of the dictionary's kind
    return (srdfast.lista(signals, dictionary * 0.2, thresholds, dictionary, steps=3, **options).values,)


CODERS = [omp, omp_residual, lasso, lista]
CODER_IDS = [coder.__name__ for coder in CODERS]
