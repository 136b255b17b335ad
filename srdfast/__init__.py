# SPDX-License-Identifier: Apache-2.0
"""Removes adversarial perturbations from images by sparse coding in semantic reconstruction dictionaries.

The method is that of arXiv 2104.02155. The kernels (`omp`, `lasso`, `lista`, `split`, `purify_patches`,
`assign`) need only numpy; `Purifier`, the training stages and the command line also need torch
(``pip install "srdfast[train]"``).
"""

import importlib
from typing import Any

from ._core import get_num_threads, set_num_threads
from ._core import version as __version__
from .bank import SRDBank
from .clusters import Gaussians
from .codes import LISTA, OMP, Lasso, LassoCodes, ListaCodes, OMPCodes
from .coding import (
    Prepared,
    average_patches,
    extract_patches,
    lasso,
    lista,
    omp,
    prepare,
    purify_patches,
    split,
)
from .errors import DataError, DeviceError, ModelFormatError, UserError
from .gradient import lista_gradient, support_gradient
from .info import build_info
from .likelihood import Assignment, GaussianTables, assign, gaussian_tables
from .torch_hook import register_when_imported

_ON_REQUEST = ("video",)
_NEEDS_TORCH = {"Purifier": ".purifier", "PurifiedModel": ".purifier"}

__all__ = [
    "LISTA",
    "OMP",
    "Assignment",
    "DataError",
    "DeviceError",
    "GaussianTables",
    "Gaussians",
    "Lasso",
    "LassoCodes",
    "ListaCodes",
    "ModelFormatError",
    "OMPCodes",
    "Prepared",
    "PurifiedModel",
    "Purifier",
    "SRDBank",
    "UserError",
    "__version__",
    "assign",
    "average_patches",
    "build_info",
    "extract_patches",
    "gaussian_tables",
    "get_num_threads",
    "lasso",
    "lista",
    "lista_gradient",
    "omp",
    "prepare",
    "purify_patches",
    "set_num_threads",
    "split",
    "support_gradient",
]


register_when_imported()


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_REQUEST, *_NEEDS_TORCH})


def __getattr__(name: str) -> Any:
    """Imports what needs torch, and what only some need, when it is asked for."""
    if name in _ON_REQUEST:
        return importlib.import_module(f".{name}", __name__)
    if name in _NEEDS_TORCH:
        try:
            return getattr(importlib.import_module(_NEEDS_TORCH[name], __name__), name)
        except ModuleNotFoundError as error:
            message = f'srdfast.{name} needs {error.name}: pip install "srdfast[train]"'
            raise ModuleNotFoundError(message, name=error.name) from None
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
