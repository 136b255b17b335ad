# SPDX-License-Identifier: Apache-2.0
"""Registers the operators with torch as soon as both packages are imported, in any order.

srdfast never imports torch by itself. A program that torch.export saved can only be loaded where its
operators are registered, and asks for them by name alone.
"""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType


def register_when_imported() -> None:
    """Registers now where torch is imported already, else right after it is."""
    if sys.modules.get("torch") is not None:
        _register_or_warn()
    else:
        sys.meta_path.insert(0, _AfterTorch())


def _register() -> None:
    import_module(".torch_library", __package__)


def _register_or_warn() -> None:
    """Registers; a torch that srdfast cannot use must stay importable by others."""
    try:
        _register()
    except Exception as error:
        warnings.warn(f"srdfast could not register its operators with torch: {error!r}", stacklevel=2)


class _AfterTorch(MetaPathFinder):
    """Finds torch as it would have been found, with a step added to the end of its import."""

    def __init__(self) -> None:
        self._asking = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of torch, None of anything else."""
        if fullname != "torch" or self._asking:
            return None
        self._asking = True
        try:
            spec = find_spec(fullname)
        finally:
            self._asking = False
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                _register_or_warn()

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec
