# SPDX-License-Identifier: Apache-2.0
"""What every test may use: the installed package, seeded numbers, fresh interpreters and real data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

# Test the installed package: the folder `srdfast` of the source tree has no compiled extension.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))  # for `import reference`

settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    max_examples=25,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("ci")


ON_GPU = {
    "test_omp",
    "test_lasso",
    "test_lista",
    "test_lista_gradient",
    "test_support_gradient",
    "test_split",
    "test_patches",
    "test_purify",
    "test_prepare",
    "test_refine",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--on-gpu", action="store_true", help="the operators' own tests compute float32 arrays on a GPU"
    )


@pytest.fixture(autouse=True)
def _where_operators_compute(request, monkeypatch):
    if request.config.getoption("--on-gpu") and request.path.stem in ON_GPU:
        import devices

        devices.redirect_to(devices.cuda_or_skip(monkeypatch), monkeypatch)


@pytest.fixture
def rng() -> np.random.Generator:
    """The same stream of numbers in every test."""
    return np.random.default_rng(20210402)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets, or a skip that says where it was looked for."""
    folder = Path(os.environ.get("SRDFAST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set SRDFAST_DATA")
    return folder


@pytest.fixture
def python(tmp_path):
    """Run a program in a fresh interpreter that sees the installed package and the helpers of this folder."""

    def run(program: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-P", "-c", program],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def of_every_level(python):
    """What a program prints, as JSON, at each CPU level of this machine; a skip where it has one alone."""

    def run(program: str) -> list[Any]:
        answers = []
        for level in ("v2", "v3", "v4"):
            done = python(program, check=False, SRDFAST_CPU_LEVEL=level)
            if done.returncode == 0:
                answers.append(json.loads(done.stdout))
            else:
                assert level in done.stderr and "SRDFAST_CPU_LEVEL" in done.stderr, done.stderr
        if len(answers) < 2:
            pytest.skip("this machine has one CPU level")
        return answers

    return run
