# SPDX-License-Identifier: Apache-2.0
"""Sizes on the command line, one thread count for every library; a bench compares answers, then times."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [
    entry for entry in sys.path if Path(entry or ".").resolve() != ROOT
]  # the installed package is timed

SIZES = {
    "batch": (10_000, "signals"),
    "images": (64, "images"),
    "side": (32, "pixels an image is high and wide"),
    "atoms": (256, "atoms of a dictionary"),
    "features": (192, "features of a signal"),
    "max-atoms": (5, "atoms that OMP may choose"),
    "steps": (1, "steps of LISTA"),
    "threads": (len(os.sched_getaffinity(0)), "threads that every library may use"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """One option for every size."""
    for name, (default, meaning) in SIZES.items():
        parser.addoption(f"--{name}", type=int, default=default, help=f"{meaning} (default {default})")


@pytest.fixture
def size(request: pytest.FixtureRequest) -> Callable[[str], int]:
    """The value of a size option."""
    return request.config.getoption


@pytest.fixture(autouse=True)
def threads(request: pytest.FixtureRequest) -> int:
    """Every library gets the same number of threads."""
    import threadpoolctl
    import torch

    import srdfast

    count: int = request.config.getoption("threads")
    srdfast.set_num_threads(count)
    torch.set_num_threads(count)
    with threadpoolctl.threadpool_limits(count):
        yield count


@pytest.fixture
def problem(size) -> tuple[np.ndarray, np.ndarray]:
    """Signals [batch, features] and unit atoms [atoms, features], float32.

    The signals are sparse in the dictionary, with noise: what the coders are for.
    """
    rng = np.random.default_rng(0)
    batch, atoms, features = size("batch"), size("atoms"), size("features")
    dictionary = rng.normal(size=(atoms, features))
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    codes = rng.normal(size=(batch, atoms)) * (rng.random((batch, atoms)) < 4 / atoms)
    signals = codes @ dictionary + 0.02 * rng.normal(size=(batch, features))
    return signals.astype(np.float32), dictionary.astype(np.float32)
