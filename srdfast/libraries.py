# SPDX-License-Identifier: Apache-2.0
"""What of faiss and CUDA is installed and loaded here, and what of it does not go together."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

_MAPS = Path("/proc/self/maps")
_CUDA_LIBRARY = re.compile(r"/lib(cudart|cublas)[^/]*\.so\.(\d+)")


def faiss_packages() -> list[str]:
    """The installed packages that bring the module faiss: "faiss-cpu 1.15.1"."""
    names = sorted(set(metadata.packages_distributions().get("faiss", [])))
    return [f"{name} {metadata.version(name)}" for name in names]


def cuda_loaded(maps: str | None = None) -> dict[str, list[str]]:
    """The libraries of CUDA's runtime in this process and the major versions of each.

    Args:
        maps: what /proc/self/maps says; read where it is None. Elsewhere than on Linux nothing is found.
    """
    if maps is None:
        maps = _MAPS.read_text() if _MAPS.exists() else ""
    found: dict[str, set[str]] = {}
    for name, major in _CUDA_LIBRARY.findall(maps):
        found.setdefault(f"lib{name}", set()).add(major)
    return {name: sorted(majors, key=int) for name, majors in sorted(found.items())}


def warnings(packages: list[str], loaded: dict[str, list[str]]) -> list[str]:
    """What to change, a sentence each, given `faiss_packages` and `cuda_loaded`."""
    found = []
    if len(packages) > 1:
        found.append(
            f"{' and '.join(packages)} all install the module faiss, and the files of one overwrite those of "
            "another: uninstall all but one"
        )
    twice = {name: majors for name, majors in loaded.items() if len(majors) > 1}
    if twice:
        what = "; ".join(f"{name} of CUDA {' and '.join(majors)}" for name, majors in twice.items())
        found.append(f"this process loads {what}: install torch and faiss for the same CUDA")
    return found
