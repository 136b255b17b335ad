# SPDX-License-Identifier: Apache-2.0
"""The only place that tells numpy, torch and cupy apart.

An operator asks for its arguments as contiguous float arrays (`prepare`), allocates its results beside them
(`Kind.empty`) and hands both to the native kernels, which read them through DLPack without a copy.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .errors import DeviceError

Array = Any
"""A numpy array, a torch tensor or a cupy array."""

Nonfinite = Literal["raise", "zero"]

_COMPUTED = ("float32", "float64")
_STORED = ("float16", "bfloat16")


@dataclass(frozen=True)
class Kind:
    """The library, device and floating dtype that the results of a call will have."""

    library: Any
    device: Any
    dtype: str
    """The dtype computed in: float32 or float64."""
    result_dtype: str
    """The dtype handed back: `dtype`, or float16 / bfloat16 where those came in."""

    def empty(self, shape: Sequence[int], dtype: str | None = None) -> Array:
        """An uninitialised array; `dtype` defaults to the one computed in."""
        options = {} if self.device is None else {"device": self.device}
        return self.library.empty(tuple(shape), dtype=getattr(self.library, dtype or self.dtype), **options)

    def result(self, array: Array) -> Array:
        """`array` in the dtype the caller works in."""
        return array if self.dtype == self.result_dtype else convert(array, self.result_dtype)


def kind_of(name: str, array: Array) -> Kind:
    """The kind of a floating array.

    Raises:
        TypeError: not an array, or not of floating dtype.
        DeviceError: a torch tensor that no kernel can read.
    """
    library = library_of(name, array)
    dtype = dtype_name(array)
    if is_torch(array) and (array.is_sparse or array.device.type not in ("cpu", "cuda")):
        what = "sparse" if array.is_sparse else f"on device {array.device}"
        raise DeviceError(f"{name}: expected a dense tensor on a CPU or CUDA device, got one {what}")
    if dtype not in _COMPUTED + _STORED:
        raise TypeError(f"{name}: expected float32 or float64 (or float16, bfloat16 as storage), got {dtype}")
    computed = "float32" if dtype in _STORED else dtype
    return Kind(library, getattr(array, "device", None) if is_torch(array) else None, computed, dtype)


def library_of(name: str, array: Array) -> Any:
    """The module that made `array`: numpy, torch or cupy, imported by its maker already."""
    root = type(array).__module__.partition(".")[0]
    if root in ("numpy", "cupy", "torch") and hasattr(array, "__dlpack__"):
        return sys.modules[root]
    if is_torch(array):
        return sys.modules["torch"]
    raise TypeError(f"{name}: expected a numpy, torch or cupy array, got {type(array).__name__}")


def is_torch(array: Array) -> bool:
    """Whether `array` is a torch tensor, a parameter included."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def dtype_name(array: Array) -> str:
    """The dtype's plain name: "float32", "uint8", ..."""
    return str(array.dtype).removeprefix("torch.")


def convert(array: Array, dtype: str) -> Array:
    """`array` in another dtype; itself when it has it already."""
    if dtype_name(array) == dtype:
        return array
    if is_torch(array):
        return array.to(getattr(sys.modules["torch"], dtype))
    return array.astype(dtype)


def prepare(name: str, array: Array, kind: Kind, nonfinite: Nonfinite = "raise") -> Array:
    """`array` as the kernels want it: contiguous, of `kind.dtype`, without gradient history.

    Copies only what is not contiguous, is stored in half precision, or holds values to be zeroed.
    With `nonfinite="raise"` the kernels' own check raises ValueError for NaN and infinity.

    Raises:
        TypeError: another library, device or dtype than the first argument of the call has.
    """
    other = kind_of(name, array)
    if other.library is not kind.library or other.device != kind.device:
        raise TypeError(
            f"{name}: expected a {_place(kind)} array like the first argument, got {_place(other)}"
        )
    if other.dtype != kind.dtype:
        raise TypeError(f"{name}: expected {kind.dtype} like the first argument, got {dtype_name(array)}")
    if is_torch(array):
        array = array.detach()
    array = contiguous(convert(array, kind.dtype))
    if nonfinite == "zero":
        finite = kind.library.isfinite(array)
        if not bool(finite.all()):
            array = kind.library.where(finite, array, kind.library.zeros_like(array))
    elif nonfinite != "raise":
        raise ValueError(f'nonfinite: expected "raise" or "zero", got {nonfinite!r}')
    return array


def prepare_index(index: Array | None, kind: Kind) -> Array | None:
    """The dictionary index of each signal as contiguous int64, or None.

    Raises:
        TypeError: not an integer array, or not of the library of the signals.
    """
    if index is None:
        return None
    if isinstance(index, (list, tuple)):
        index = kind.library.asarray(index, **({} if index else {"dtype": kind.library.int64}))
    library = library_of("index", index)
    if library is not kind.library:
        raise TypeError(f"index: expected a {kind.library.__name__} array, got {library.__name__}")
    dtype = dtype_name(index)
    if not dtype.startswith(("int", "uint")):
        raise TypeError(f"index: expected integers, got {dtype}")
    return contiguous(convert(index, "int64"))


def contiguous(array: Array) -> Array:
    """`array`, or a copy of it with the last dimension fastest and no gaps."""
    if is_torch(array):
        return array.contiguous()
    return array if is_contiguous(array) else array.copy(order="C")


def is_contiguous(array: Array) -> bool:
    """Whether the last dimension is fastest and there are no gaps."""
    return bool(array.is_contiguous() if is_torch(array) else array.flags.c_contiguous)


def to_numpy(array: Array) -> np.ndarray:
    """A numpy array with the values of any array; shares memory where it can."""
    if is_torch(array):
        return array.detach().cpu().numpy()
    return array.get() if hasattr(array, "get") else np.asarray(array)


def _place(kind: Kind) -> str:
    return kind.library.__name__ + ("" if kind.device is None else f" ({kind.device})")
