# SPDX-License-Identifier: Apache-2.0
"""Purifying video: files, pipes and live streams, frame by frame and in order.

`Stream` is for frames that a program has in its hands; ``srdfast video`` is for files, pipes and cameras.
Files and URLs need PyAV (``pip install "srdfast[video]"``), which is imported only when one is opened.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .frames import FramePurifier
    from .gpu import GpuFramePurifier
    from .stream import Purified, Stream

_HOMES = {"FramePurifier": ".frames", "GpuFramePurifier": ".gpu", "Purified": ".stream", "Stream": ".stream"}

__all__ = ["FramePurifier", "GpuFramePurifier", "Purified", "Stream"]


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


def __getattr__(name: str) -> Any:
    """Imports a name when it is asked for: the frame purifier brings torch with it."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
