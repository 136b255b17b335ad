# SPDX-License-Identifier: Apache-2.0
"""How fast the kernels run here: their operations, a timing loop and the command `srdfast bench`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _core, coding
from .codes import LISTA, OMP, Coder, Lasso

OPS = ("omp", "lasso", "lista", "purify", "split")
SIDE, STRIDE = 32, 4  # of the images of `purify` and `split`
FLOAT = 4  # bytes

Call = Callable[[], Any]


@dataclass(frozen=True)
class Work:
    """What one item (a signal, an image) needs: textbook operations, and its own bytes moved once."""

    flops: float
    bytes: float

    def __mul__(self, count: float) -> Work:
        return Work(self.flops * count, self.bytes * count)

    def floor(self, peak: float, bandwidth: float) -> float:
        """Seconds that the machine needs for it at its peak."""
        return max(self.flops / peak, self.bytes / bandwidth)


@dataclass(frozen=True)
class Sizes:
    """The sizes that `srdfast bench` takes."""

    features: int = 64
    atoms: int = 256
    max_atoms: int = 4
    batch: int = 16384

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            _in_range(f"--{name.replace('_', '-')}", value, 1, (1 << 24) if name == "batch" else 8192)
        numbers = self.batch * max(self.features, self.atoms, self.max_atoms)
        if numbers > 1 << 28 or self.batch * self.features * self.atoms > 1 << 34:
            raise ValueError(f"--batch: expected fewer than {self.batch} signals of this size")


def omp_work(features: int, atoms: int, max_atoms: int, selection: str = "correlation") -> Work:
    """Correlations with all atoms, then per further atom a projection of all correlations (Batch-OMP).

    Step k makes one row of atoms entries from a Gram row and k - 1 former rows; selection by residual also
    keeps the norms of what is left of the atoms.
    """
    projections = sum(2 * atoms * k for k in range(1, max_atoms))
    norms = 2 * atoms * (max_atoms - 1) if selection == "residual" else 0
    return Work(2 * atoms * features + projections + norms, FLOAT * (features + 2 * max_atoms + 1))


def lasso_work(features: int, atoms: int) -> Work:
    """Correlations with all atoms; what comes after depends on the supports."""
    return Work(2 * atoms * features, FLOAT * (features + atoms + 1))


def lista_work(features: int, atoms: int, steps: int) -> Work:
    """One product in the first step, two in each further one."""
    return Work((2 * steps - 1) * 2 * atoms * features, FLOAT * (features + atoms))


def lista_gradient_work(features: int, atoms: int, steps: int, rebuilt: bool) -> Work:
    """The products of `lista`, as many on the way back, and one more where reconstructions come first."""
    products = 2 * (2 * steps - 1) + rebuilt
    return Work(products * 2 * atoms * features, FLOAT * (2 * features + (features if rebuilt else atoms)))


def support_gradient_work(features: int, size: int, rebuilt: bool) -> Work:
    """The equations of a support of that size, and one or two products with its atoms."""
    flops = size**3 / 3 + 2 * size**2 + 2 * (1 + rebuilt) * size * features
    return Work(flops, FLOAT * (features + size + (features if rebuilt else size)))


def purify_work(
    shape: tuple[int, int, int], atoms: int, coder: Coder, patch: int = 8, stride: int = 4
) -> Work:
    """An image [channels, height, width]: code and rebuild every patch; only pixels pass through memory."""
    channels, height, width = shape
    features = channels * patch * patch
    positions = coding._patch_count(height, width, patch, stride)
    if isinstance(coder, OMP):
        flops = omp_work(features, atoms, coder.max_atoms, coder.selection).flops
        flops += 2 * features * coder.max_atoms
    elif isinstance(coder, LISTA):
        flops = lista_work(features, atoms, coder.steps).flops + 2 * features * atoms
    else:
        flops = lasso_work(features, atoms).flops
    return Work(positions * flops, 2 * FLOAT * channels * height * width)


def split_work(shape: tuple[int, int, int]) -> Work:
    """Two fast cosine transforms of the columns, an elimination along the rows; one image in, two out."""
    pixels = math.prod(shape)
    return Work(pixels * (5 * math.log2(max(2, shape[1])) + 6), 3 * FLOAT * pixels)


def time_calls(call: Call, seconds: float, least: int = 3) -> np.ndarray:
    """Seconds of each call, for about so long and at least so often, after one call that is not counted."""
    call()
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < least or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return np.array(times)


def percentile(times: Any, share: float) -> float:
    """The time that `share` per cent of the calls do not exceed."""
    return float(np.percentile(np.asarray(times), share))


def sparse_signals(
    batch: int, features: int, atoms: int, max_atoms: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Signals [batch, features] that mix about `max_atoms` atoms, with noise; and the atoms, float32."""
    rng = np.random.default_rng(0)
    dictionary = rng.standard_normal((atoms, features), np.float32)
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    signals = 0.02 * rng.standard_normal((batch, features), np.float32)
    for _ in range(max_atoms):  # one atom at a time: no dense codes [batch, atoms]
        weights = rng.standard_normal((batch, 1), np.float32)
        signals += weights * dictionary[rng.integers(0, atoms, batch)]
    return signals, dictionary


def measure(op: str, sizes: Sizes, threads: int, seconds: float) -> dict[str, Any]:
    """Times kernels on synthetic signals; what `srdfast bench --json` prints.

    Args:
        op: one of `OPS`, or "all".
        sizes: of the problem.
        threads: for the kernels and for the peak; restored afterwards.
        seconds: for each kernel.
    """
    _in_range("--threads", threads, 1, 1024)
    _in_range("--seconds", seconds, 0.001, 10)
    names = OPS if op == "all" else (op,)
    former = _core.get_num_threads()
    _core.set_num_threads(threads)
    try:
        cases = {name: _case(name, sizes) for name in names}
        peak = _core.measure_peak("float32", 0.3)
        bandwidth = _core.measure_bandwidth(1 << 27, 0.3)
        rows = [_row(name, *case, seconds, peak, bandwidth) for name, case in cases.items()]
    finally:
        _core.set_num_threads(former)
    return {
        "threads": threads,
        "cpu_level": _core.cpu_level(),
        "sizes": dict(vars(sizes)),
        "peak_gflops": peak / 1e9,
        "bandwidth_gb": bandwidth / 1e9,
        "kernels": rows,
    }


def table(report: dict[str, Any]) -> str:
    """What `measure` found, as aligned text."""
    sizes = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in report["sizes"].items())
    lines = [
        f"{sizes}; float32, CPU level {report['cpu_level']}, threads {report['threads']}",
        f"this machine: {report['peak_gflops']:.0f} GFLOP/s multiply-add, "
        f"{report['bandwidth_gb']:.1f} GB/s memory",
        "",
        f"{'kernel':<8}{'per second':>22}{'p50 ms':>10}{'p99 ms':>10}{'GFLOP/s':>10}{'of peak':>9}",
    ]
    for row in report["kernels"]:
        rate = f"{row['rate']:,.0f} {row['unit']}"
        lines.append(
            f"{row['kernel']:<8}{rate:>22}{row['p50_ms']:>10.3f}{row['p99_ms']:>10.3f}"
            f"{row['gflops']:>10.1f}{row['share_of_peak']:>9.1%}"
        )
    return "\n".join(lines)


def _row(
    name: str, call: Call, work: Work, count: int, unit: str, seconds: float, peak: float, bandwidth: float
) -> dict[str, Any]:
    times = time_calls(call, seconds)
    median = percentile(times, 50)
    rate = work.flops * count / median
    return {
        "kernel": name,
        "unit": unit,
        "rate": count / median,
        "p50_ms": 1e3 * median,
        "p99_ms": 1e3 * percentile(times, 99),
        "calls": len(times),
        "gflops": rate / 1e9,
        "share_of_peak": rate / peak,
        "share_of_floor": (work * count).floor(peak, bandwidth) / median,
    }


def _case(name: str, sizes: Sizes) -> tuple[Call, Work, int, str]:
    """A call of the kernel, the work of one item, how many items it has and what they are."""
    features, atoms, max_atoms = sizes.features, sizes.atoms, sizes.max_atoms
    if name in ("purify", "split"):
        return _image_case(name, sizes)
    signals, dictionary = sparse_signals(sizes.batch, features, atoms, max_atoms)
    if name == "omp":
        prepared = coding.prepare(dictionary)
        work = omp_work(features, atoms, max_atoms)
        return lambda: coding.omp(signals, prepared, max_atoms), work, sizes.batch, "signals"
    if name == "lasso":
        prepared = coding.prepare(dictionary)
        work = lasso_work(features, atoms)
        return lambda: coding.lasso(signals, prepared, Lasso().penalty), work, sizes.batch, "signals"
    step = np.float32(1 / np.linalg.norm(dictionary, 2) ** 2)
    learned = step * dictionary, np.full(atoms, 0.1 * step, np.float32)
    work = lista_work(features, atoms, 1)
    return lambda: coding.lista(signals, *learned, dictionary), work, sizes.batch, "signals"


def _image_case(name: str, sizes: Sizes) -> tuple[Call, Work, int, str]:
    channels, patch = _patch_of(sizes.features)
    shape = channels, max(SIDE, patch), max(SIDE, patch)
    stride = min(STRIDE, patch)
    count = max(1, sizes.batch // coding._patch_count(*shape[1:], patch, stride))
    images = np.random.default_rng(0).random((count, *shape), np.float32)
    if name == "split":
        return lambda: coding.split(images), split_work(shape), count, "images"
    coder = OMP(sizes.max_atoms)
    _, dictionary = sparse_signals(1, sizes.features, sizes.atoms)
    prepared, high = coding.prepare(dictionary), coding.split(images)[1]
    work = purify_work(shape, sizes.atoms, coder, patch, stride)

    def rebuild() -> Any:
        return coding.purify_patches(high, prepared, coder, patch=patch, stride=stride)

    return rebuild, work, count, "images"


def _patch_of(features: int) -> tuple[int, int]:
    """Channels and side of the patch that has so many features."""
    for channels in (3, 1):
        side = math.isqrt(features // channels)
        if channels * side * side == features and side >= 1:
            return channels, side
    raise ValueError(
        f"--features: for images expected a square or three times one, got {features}; "
        "--op omp, lasso or lista takes any"
    )


def _in_range(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ValueError(f"{name}: expected {least:g} to {most:,}, got {value}")
