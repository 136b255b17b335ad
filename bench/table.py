# SPDX-License-Identifier: Apache-2.0
"""The report of a run: made from pytest-benchmark's JSON, printed as text or Markdown.

python bench/table.py bench/results/cpu-<date>.json [--markdown]
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import itertools
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

RIVALS = ("numpy", "torch", "spams-bin", "scikit-learn", "sporco", "scipy")
COLUMNS = ("case", "library", "median", "p99", "rate", "ratio", "floor", "notes")
NUMBERS = COLUMNS[2:7]  # set flush right
LEGEND = """\
median, p99: of one call; rate: items per second; ratio: time per item / that of srdfast in the same case
floor: the time that the textbook's operations take at peak, or the bytes if that is longer, as a share of
the median; above 100% an answer took fewer operations than the textbook's way"""


def compact(measured: dict[str, Any], threads: int) -> dict[str, Any]:
    """Our JSON: the machine, and a row for each timed call."""
    machine = describe(threads)
    rows = [_row(entry, machine) for entry in measured["benchmarks"]]
    ours = {(row["group"], row["name"]): row["rate"] for row in rows if row["library"] == "srdfast"}
    for row in rows:
        rate = ours.get((row["group"], row["name"]))
        row["ratio"] = _digits(rate / row["rate"]) if rate and row["library"] != "srdfast" else None
    return {"machine": machine, "cases": rows}


def describe(threads: int) -> dict[str, Any]:
    """What a reader must know of the machine to judge the figures."""
    import srdfast
    from srdfast import _core, machine

    srdfast.set_num_threads(threads)
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": machine.describe()["machine"]["processor"],
        "cores": len(os.sched_getaffinity(0)),
        "threads": threads,
        "cpu_level": _core.cpu_level(),
        "compiler": _core.compiler,
        "srdfast": srdfast.__version__,
        "versions": {name: _version(name) for name in RIVALS},
        "peak_flops": _digits(_core.measure_peak("float32", 0.5)),
        "bandwidth": _digits(_core.measure_bandwidth(1 << 28, 0.5)),
        "gpu": describe_gpu(),
    }


def describe_gpu() -> dict[str, Any] | None:
    """The GPU in use with its measured rates, or None.

    The peak is a third of torch's rate of products in TF32: a float32 product takes three of them.
    """
    import torch

    import srdfast
    from srdfast import _core

    if not (torch.cuda.is_available() and srdfast.build_info()["cuda"]):
        return None
    side, info = 8192, _core.cuda_info()
    matrix, copy = torch.randn(side, side, device="cuda"), torch.empty(1 << 29, device="cuda")
    other = torch.empty_like(copy)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    product = _gpu_seconds(lambda: matrix @ matrix)
    torch.backends.cuda.matmul.allow_tf32 = before
    return {
        "name": torch.cuda.get_device_name(),
        "driver": _driver_version(),
        "cuda": info["toolkit"],
        "architectures": info["architectures"],
        "torch_cuda": torch.version.cuda,
        "peak_flops": _digits(2 * side**3 / product / 3),
        "bandwidth": _digits(2 * 4 * copy.numel() / _gpu_seconds(lambda: copy.copy_(other))),
    }


def _driver_version() -> str | None:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def _gpu_seconds(call: Callable[[], Any]) -> float:
    """Seconds of a call on the GPU, the best of 10."""
    import torch

    best = float("inf")
    for _ in range(10):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        best = min(best, start.elapsed_time(end) / 1e3)
    return best


def text(report: dict[str, Any]) -> str:
    """Aligned columns, a block for each group."""
    blocks = [_headline(report["machine"]), LEGEND]
    for group, rows in _groups(report):
        cells = [COLUMNS, *rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        blocks.append("\n".join([f"[{group}]", *(_line(row, widths) for row in cells)]))
    return "\n\n".join(blocks)


def markdown(report: dict[str, Any]) -> str:
    """A table for each group."""
    blocks = [_headline(report["machine"]), LEGEND]
    rule = "|" + "|".join("---:" if name in NUMBERS else "---" for name in COLUMNS) + "|"
    for group, rows in _groups(report):
        lines = ["| " + " | ".join(row) + " |" for row in (COLUMNS, *rows)]
        blocks.append("\n".join([f"### {group}", "", lines[0], rule, *lines[1:]]))
    return "\n\n".join(blocks)


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    cells = zip(COLUMNS, row, widths, strict=True)
    return "  ".join(
        cell.rjust(width) if name in NUMBERS else cell.ljust(width) for name, cell, width in cells
    ).rstrip()


def _row(entry: dict[str, Any], machine: dict[str, Any]) -> dict[str, Any]:
    info, stats = entry["extra_info"], entry["stats"]
    floor = None
    if info["flops"] is not None:
        device = machine["gpu"] if info.get("on_gpu") else machine
        floor = max(info["flops"] / device["peak_flops"], info["bytes"] / device["bandwidth"])
    row = {
        "group": entry["group"],
        "name": info["name"],
        "library": info["library"],
        "median": _digits(stats["median"]),
        "p99": _digits(info["p99"]),
        "iqr": _digits(stats["iqr"]),
        "rounds": stats["rounds"],
        "count": info["count"],
        "unit": info["unit"],
        "rate": _digits(info["count"] / stats["median"]),
        "ratio": None,
        "flops": info["flops"],
        "bytes": info["bytes"],
        "share_of_floor": floor and _digits(floor / stats["median"]),
        "notes": info["notes"],
    }
    beside = {key: _digits(value) for key, value in info.items() if key.startswith("beside: ")}
    return row | beside


def _headline(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    return (
        f"{machine['date']}: {machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads for "
        f"every library, CPU level {machine['cpu_level']}\n"
        f"{machine['peak_flops'] / 1e9:.0f} GFLOP/s multiply-add in float32, "
        f"{machine['bandwidth'] / 1e9:.1f} GB/s memory\n"
        f"{_gpu_line(machine.get('gpu'))}srdfast {machine['srdfast']} ({machine['compiler']}), {versions}"
    )


def _gpu_line(gpu: dict[str, Any] | None) -> str:
    if gpu is None:
        return ""
    return (
        f"{gpu['name']} (CUDA {gpu['cuda']}, driver {gpu['driver']}): {gpu['peak_flops'] / 1e12:.0f} "
        f"TFLOP/s in float32 by three TF32 products, {gpu['bandwidth'] / 1e12:.2f} TB/s\n"
    )


def _groups(report: dict[str, Any]) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Rows as text, by group, the rows of a case together and ours first."""

    def order(row: dict[str, Any]) -> tuple[int, int, bool]:
        names = [(other["group"], other["name"]) for other in report["cases"]]
        groups = [group for group, _ in names]
        return (
            groups.index(row["group"]),
            names.index((row["group"], row["name"])),
            row["library"] != "srdfast",
        )

    rows = sorted(report["cases"], key=order)
    return [
        (group, [_cells(row) for row in mine])
        for group, mine in itertools.groupby(rows, lambda row: row["group"])
    ]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        row["library"],
        _time(row["median"]),
        _time(row["p99"]),
        f"{row['rate']:,.{1 if row['rate'] < 100 else 0}f} {row['unit']}/s",
        f"{row['ratio']:.2f}" if row["ratio"] else "",
        f"{row['share_of_floor']:.0%}" if row["share_of_floor"] else "",
        row["notes"],
    )


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def _digits(value: float) -> float:
    """Four digits: more would be noise."""
    return float(f"{value:.4g}")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print the report of a run.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    report = json.loads(options.file.read_text())
    print(markdown(report) if options.markdown else text(report))
