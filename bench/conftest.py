# SPDX-License-Identifier: Apache-2.0
"""The harness: data, one thread count for every library, and one row of the report for each timed call.

A bench compares answers, then times. Options: --quick (tiny sizes, one round), --threads, --results FOLDER.
"""

from __future__ import annotations

import datetime
import functools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
# The installed package is timed, not the folder of the same name beside this one.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE.parent]
sys.path.insert(0, str(HERE))  # for `import table`

import table  # noqa: E402

from srdfast import microbench  # noqa: E402

WARM_SECONDS, TIMED_SECONDS, MOST_ROUNDS = 0.3, 0.3, 100
REPEATS = 10  # calls between two waits for a GPU


def pytest_addoption(parser: pytest.Parser) -> None:
    cores = len(os.sched_getaffinity(0))
    parser.addoption("--quick", action="store_true", help="tiny sizes, one round: does every case run?")
    parser.addoption("--threads", type=int, default=cores, help=f"for every library (default {cores})")
    parser.addoption(
        "--results", type=Path, help="folder for cpu-<date>.json, or gpu-<name>-<date>.json where one is used"
    )


@pytest.fixture
def quick(request: pytest.FixtureRequest) -> bool:
    return request.config.getoption("quick")


@pytest.fixture
def sized(quick: bool) -> Callable[[int, int], int]:
    """The full or the tiny one of two sizes."""
    return lambda full, tiny: tiny if quick else full


@pytest.fixture(autouse=True)
def threads(request: pytest.FixtureRequest) -> Any:
    """Every library gets the same number of threads."""
    import threadpoolctl
    import torch

    import srdfast

    count: int = request.config.getoption("threads")
    srdfast.set_num_threads(count)
    torch.set_num_threads(count)
    with threadpoolctl.threadpool_limits(count), torch.no_grad():
        yield count
    srdfast.set_num_threads(count)


@pytest.fixture
def timed(benchmark: Any, quick: bool) -> Callable[..., dict[str, float]]:
    """Times a call: one row of the report."""

    def run(
        call: Callable[[], Any],
        group: str,
        name: str,
        library: str,
        count: int,
        unit: str,
        work: microbench.Work | None = None,
        rounds: int = 7,
        beside: dict[str, Callable[[], Any]] | None = None,
        describe: Callable[[dict[str, float]], str] | None = None,
        notes: str = "",
        on_gpu: bool = False,
    ) -> dict[str, float]:
        """Times `call`, and the calls in `beside` in turn with it.

        Args:
            call: what is timed.
            group: the topic.
            name: the case; the rows of a case are compared with that of the library "srdfast".
            library: who computes.
            count: how many items a call has, and
            unit: what they are.
            work: of one item.
            rounds: how many calls are timed at least; 1 for a call so slow that nothing warms it.
            beside: calls whose share of this one is wanted; timed just before each round, so that a drift of
                the machine meets both.
            describe: makes the notes of what is returned.
            notes: printed at the end of the row.
            on_gpu: the floor is that of the GPU.

        Returns:
            Median seconds of each call in `beside`, and of `call` as "call".
        """
        others: dict[str, list[float]] = {key: [] for key in beside or {}}

        def setup() -> None:
            for key, other in (beside or {}).items():
                start = time.perf_counter()
                other()
                others[key].append(time.perf_counter() - start)

        benchmark.group = group
        rest()
        rounds = 1 if quick else warm(call, setup, rounds)
        for seconds in others.values():
            seconds.clear()  # those of the warm-up
        benchmark.pedantic(call, setup=setup, rounds=rounds)
        medians = {key: float(np.median(seconds)) for key, seconds in others.items()}
        median = benchmark.stats.stats.median
        benchmark.extra_info.update(
            name=name,
            library=library,
            count=count,
            unit=unit,
            p99=microbench.percentile(benchmark.stats.stats.data, 99),
            flops=work and work.flops * count,
            bytes=work and work.bytes * count,
            on_gpu=on_gpu,
            notes=describe(medians | {"call": median}) if describe else notes,
            **{f"beside: {key}": seconds for key, seconds in medians.items()},
        )
        return medians | {"call": median}

    return run


def rest() -> None:
    """Waits until no thread of this process works: those of BLAS and OpenMP spin for a while after a call."""
    for _ in range(100):
        before = time.process_time()
        time.sleep(0.01)
        if time.process_time() - before < 0.001:
            return


def warm(call: Callable[[], Any], setup: Callable[[], None], rounds: int) -> int:
    """Calls until threads are up and clocks settle; how many rounds to time, more for short calls."""
    if rounds == 1:
        return rounds
    fastest, begin = float("inf"), time.perf_counter()
    while time.perf_counter() - begin < WARM_SECONDS:
        setup()
        start = time.perf_counter()
        call()
        fastest = min(fastest, time.perf_counter() - start)
    return max(rounds, min(MOST_ROUNDS, int(TIMED_SECONDS / fastest)))


@pytest.fixture
def gpu(quick: bool) -> Any:
    """The GPU as a torch device, or the CPU where a quick run has none; else a skip."""
    import torch

    import srdfast

    if torch.cuda.is_available() and srdfast.build_info()["cuda"]:
        return torch.device("cuda")
    if not quick:
        pytest.skip("no GPU that torch and this build of srdfast can use")
    return torch.device("cpu")


@pytest.fixture
def timed_on_gpu(timed: Callable[..., Any], gpu: Any, quick: bool) -> Callable[..., None]:
    """`timed` for calls that return before the GPU has done them; `items` are those of one of them."""
    import torch

    def run(call, group, name, library, items, unit, work=None, repeats=REPEATS, notes=""):
        repeats = 1 if quick else repeats

        def together():
            for _ in range(repeats):
                call()
            if gpu.type == "cuda":
                torch.cuda.synchronize()

        on_gpu = gpu.type == "cuda"
        timed(together, group, name, library, items * repeats, unit, work=work, notes=notes, on_gpu=on_gpu)

    return run


@functools.cache
def _patches(channels: int) -> np.ndarray:
    """Mean-removed 8x8 patches, stride 4, of a photograph in [0, 1], float32 [16129, features]."""
    import srdfast

    patches = srdfast.extract_patches(_photograph(channels)[None], patch=8, stride=4)[0]
    return np.ascontiguousarray(patches - patches.mean(axis=1, keepdims=True))


@functools.cache
def _photograph(channels: int) -> np.ndarray:
    """float32 [channels, 512, 512] in [0, 1]."""
    import skimage

    photograph = skimage.data.astronaut()
    pixels = (
        skimage.color.rgb2gray(photograph)[None] if channels == 1 else photograph.transpose(2, 0, 1) / 255
    )
    return np.ascontiguousarray(pixels, dtype=np.float32)


@functools.cache
def _dictionary(channels: int, atoms: int) -> np.ndarray:
    """Unit atoms [atoms, features]: learned by SPAMS, or random patches where it is missing."""
    patches = _patches(channels)
    try:
        import spams
    except ImportError:
        chosen = np.random.default_rng(0).permutation(np.flatnonzero(np.linalg.norm(patches, axis=1) > 0.1))
        dictionary = patches[chosen[:atoms]]
    else:
        columns = np.asfortranarray(patches.T, dtype=np.float64)
        learned = spams.trainDL(columns, K=atoms, lambda1=0.1, iter=100, numThreads=1, verbose=False)
        dictionary = np.ascontiguousarray(learned.T, dtype=np.float32)
    return dictionary / np.linalg.norm(dictionary, axis=1, keepdims=True)


@pytest.fixture
def problem(sized) -> Callable[[int, int], tuple[np.ndarray, np.ndarray]]:
    """Signals of the photograph and the dictionary learned from them, for features (64 or 192) and atoms."""

    def make(features: int, atoms: int) -> tuple[np.ndarray, np.ndarray]:
        signals = _patches(features // 64)
        return signals[:: sized(1, 300)].copy(), _dictionary(features // 64, atoms)

    return make


@pytest.fixture
def learned(problem) -> Callable[[int, int], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Synthesis and analysis atoms and thresholds of ISTA for the lasso with penalty 0.1."""

    def make(features: int, atoms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        _, synthesis = problem(features, atoms)
        step = np.float32(1 / np.linalg.norm(synthesis, 2) ** 2)
        return synthesis, step * synthesis, np.full(atoms, 0.1 * step, np.float32)

    return make


@pytest.fixture
def crops() -> Callable[..., np.ndarray]:
    """Crops [count, channels, height, width] of the photograph, tiled where it is too small, in [0, 1]."""

    def make(count: int, channels: int, height: int, width: int) -> np.ndarray:
        photograph = _photograph(channels)
        tiled = np.tile(photograph, (1, height // 512 + 2, width // 512 + 2))
        corners = np.random.default_rng(0).integers(0, 512, (count, 2))
        return np.stack([tiled[:, row : row + height, col : col + width] for row, col in corners])

    return make


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: list, output_json: dict) -> None:
    """Makes our own report of what pytest-benchmark measured."""
    report = table.compact(output_json, config.getoption("threads"))
    config.stash[REPORT] = report
    folder = config.getoption("results")
    if folder is not None and not config.getoption("quick"):
        folder.mkdir(parents=True, exist_ok=True)
        gpu = report["machine"]["gpu"]
        kind = "cpu" if gpu is None else "gpu-" + gpu["name"].lower().replace(" ", "-")
        path = folder / f"{kind}-{datetime.date.today().isoformat()}.json"
        path.write_text(json.dumps(report, indent=1) + "\n")
        report["path"] = str(path)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if REPORT in config.stash:
        report = config.stash[REPORT]
        terminalreporter.write_line("")
        terminalreporter.write_line(table.text(report))
        if "path" in report:
            terminalreporter.write_line(f"\nwritten to {report['path']}")


REPORT = pytest.StashKey[dict]()
