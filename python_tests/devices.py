# SPDX-License-Identifier: Apache-2.0
"""The devices that tests run on.

`cuda` is a GPU. In a build with SRDFAST_CUDA=HOST its kernels run on threads of the CPU, on torch tensors
that lie there: all between Python and the kernels is as on a GPU, but for streams.
"""

import os

import numpy as np
import pytest

import srdfast
from srdfast import _core, arrays

EMULATED = _core.cuda_info()["toolkit"] == "threads of the CPU"
_MOVED = (np.float16, np.float32)
REQUIRED = os.environ.get("SRDFAST_REQUIRE_CUDA") == "1"


def cuda_or_skip(monkeypatch):
    """The torch device of a GPU, or of what stands in for one; skips, or fails where a GPU is required."""
    torch = pytest.importorskip("torch")
    if EMULATED:
        place = arrays.CudaPlace(0, 0, lambda size: torch.empty(size, dtype=torch.uint8), lambda: None)
        monkeypatch.setattr(arrays, "place_of", lambda library, device: place if library is torch else None)
        return torch.device("cpu")
    missing = "torch sees no GPU" if not torch.cuda.is_available() else _core.cuda_info()["why_none"]
    if missing:
        (pytest.fail if REQUIRED else pytest.skip)(missing)
    return torch.device("cuda", torch.cuda.current_device())


def on_device(device, *values):
    """Numpy arrays as tensors on the device; anything else as it is."""
    torch = pytest.importorskip("torch")
    moved = [
        torch.tensor(value, device=device) if isinstance(value, np.ndarray) else value for value in values
    ]
    return moved if len(moved) > 1 else moved[0]


def back(*values):
    """Tensors as numpy arrays."""
    arrays_back = [value.cpu().numpy() for value in values]
    return arrays_back if len(arrays_back) > 1 else arrays_back[0]


def redirect_to(device, monkeypatch):
    """Makes the array functions compute float32 numpy arrays on the device, and give numpy arrays back."""
    for name in (
        "omp",
        "lasso",
        "lista",
        "lista_gradient",
        "support_gradient",
        "split",
        "extract_patches",
        "average_patches",
        "purify_patches",
        "prepare",
    ):
        monkeypatch.setattr(srdfast, name, _redirected(getattr(srdfast, name), device))


def _redirected(function, device):
    def run(first, *rest, out=None, **options):
        prepared_there = any(
            isinstance(value, srdfast.Prepared) and value.dtype == "float32"
            for value in (*rest, *options.values())
        )
        if not (isinstance(first, np.ndarray) and (first.dtype in _MOVED or prepared_there)):
            return function(first, *rest, **options, **({} if out is None else {"out": out}))
        if options.get("start") is not None:
            pytest.skip("codes to start from are for the CPU")
        if out is not None:
            function(first, *rest, out=out, **options)  # refuses what cannot hold the results
        moved = [on_device(device, value) for value in (first, *rest)]
        options = {key: on_device(device, value) for key, value in options.items()}
        if out is None:
            return _as_numpy(function(*moved, **options))
        for array, result in zip(out, function(*moved, out=on_device(device, *out), **options), strict=True):
            array[...] = back(result)
        return out

    return run


def _as_numpy(result):
    if isinstance(result, tuple):
        return tuple(map(_as_numpy, result))
    if hasattr(result, "cpu"):
        return back(result)
    if hasattr(result, "values"):  # codes
        fields = {key: _as_numpy(value) for key, value in vars(result).items()}
        return type(result)(**fields)
    return result
