# SPDX-License-Identifier: Apache-2.0
"""What is installed and what this machine offers: the facts of `srdfast info`, and the choice of a device."""

from __future__ import annotations

import os
import platform
from typing import Any

from . import _core, libraries
from .errors import DeviceError
from .report import versions


def describe() -> dict[str, Any]:
    """Everything a bug report should say, ready for JSON; torch and faiss may be missing."""
    from . import build_info, get_num_threads

    cuda = {name: fact for name, fact in _core.cuda_info().items() if name not in ("devices", "why_none")}
    packages = libraries.faiss_packages()
    faiss = {"build": _faiss(), "packages": packages}  # imported before what is loaded is looked at
    _torch_threads()
    loaded = libraries.cuda_loaded()
    return {
        "versions": versions(),
        "build": dict(build_info()),
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        },
        "threads": {"srdfast": get_num_threads(), "torch": _torch_threads()},
        "faiss": faiss,
        "gpu": _gpu(),
        "cuda": {**cuda, "loaded": [f"{name} {' '.join(majors)}" for name, majors in loaded.items()]},
        "warnings": libraries.warnings(packages, loaded),
    }


def lines(facts: dict[str, Any]) -> list[str]:
    """`describe` as aligned text, one fact a line."""
    flat = [
        (group if key is None else f"{group}: {key}", value)
        for group, entry in facts.items()
        for key, value in (entry.items() if isinstance(entry, dict) else [(None, entry)])
    ]
    width = max(len(name) for name, _ in flat)
    return [f"{name:<{width}}  {_words(value)}" for name, value in flat]


def choose_device(name: str) -> str:
    """Check a device name; "auto" is a GPU where both torch and the kernels can use one, else the CPU.

    Raises:
        DeviceError: not auto, cpu, cuda or cuda:N, or there is no such device; the message says why.
    """
    import torch

    from . import build_info

    kind, colon, number = name.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (colon and (kind != "cuda" or not number.isdecimal())):
        raise DeviceError(f"--device: expected auto, cpu, cuda or cuda:N, got {name!r}")
    if kind == "auto":
        return "cuda" if torch.cuda.is_available() and build_info().get("cuda") else "cpu"
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"--device {name}: {_gpu()}; use --device cpu")
    if kind == "cuda" and not build_info()["cuda"]:
        raise DeviceError(f"--device {name}: {_core.cuda_info()['why_none']}; use --device cpu")
    if number and int(number) >= torch.cuda.device_count():
        raise DeviceError(f"--device {name}: this machine has {torch.cuda.device_count()} GPU(s)")
    return name


def _words(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return {None: "not installed", True: "yes", False: "no"}.get(value, str(value))


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _torch_threads() -> int | None:
    try:
        import torch
    except ModuleNotFoundError:
        return None
    return torch.get_num_threads()


def _faiss() -> str | None:
    """Version, instruction set and whether it was built for the GPU."""
    try:
        import faiss
    except ModuleNotFoundError:
        return None
    options = faiss.get_compile_options().split()
    return " ".join([faiss.__version__, *options])


def _gpu() -> list[str] | str:
    """The names of the GPUs, or why there are none."""
    try:
        import torch
    except ModuleNotFoundError:
        return "none: torch is not installed"
    if torch.cuda.is_available():
        return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if torch.version.cuda is None:
        return f"none: torch {torch.__version__} is built without CUDA"
    return "none: torch finds no CUDA device (no GPU, or no driver for it)"
