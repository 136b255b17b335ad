# SPDX-License-Identifier: Apache-2.0
"""What this build of srdfast holds and what it uses on this machine."""

from typing import Any

from . import _core


def build_info() -> dict[str, Any]:
    """Version, compiler, CPU levels and threads.

    Returns:
        A dictionary with `version`, `compiler`, `cpu_level` (the one in use), `available_cpu_levels` (slowest
        first), `cuda` (whether the functions can compute on a GPU) and `threads`.

    Raises:
        ValueError: SRDFAST_CPU_LEVEL names a level that this machine or build lacks.
    """
    return {
        "version": _core.version,
        "compiler": _core.compiler,
        "cpu_level": _core.cpu_level(),
        "available_cpu_levels": _core.available_cpu_levels(),
        "cuda": bool(_core.cuda_info()["devices"]),
        "threads": _core.get_num_threads(),
    }
