# SPDX-License-Identifier: Apache-2.0
"""The only place that tells numpy, torch and cupy apart.

An operator asks for its arguments as contiguous float arrays (`prepare`), allocates its results beside them
(`Kind.empty`) and hands both to the native kernels, which read them through DLPack without a copy. Kernels on
a GPU run on the stream that the arrays' library works on at that moment (`place_of`), like its own functions.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ._core import cuda_built, is_capturing, require_not_forked
from .errors import DeviceError

Array = Any
"""A numpy array, a torch tensor or a cupy array."""

Nonfinite = Literal["raise", "zero"] | None
"""What becomes of NaN and infinity: ValueError, or 0. None: ValueError on the CPU; on a GPU nobody looks."""

_COMPUTED = ("float32", "float64")
_STORED = ("float16", "bfloat16")


@dataclass(frozen=True)
class CudaPlace:
    """Where a call's kernels run on a GPU."""

    device: int
    """The number of the GPU."""
    stream: int
    """A cudaStream_t; 0 is the legacy default stream."""
    allocate: Callable[[int], Array]
    """uint8 memory of that many bytes on the GPU, whose next user comes after the stream's work."""
    wait: Callable[[], None]
    """Returns when the stream has done its work."""


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
        return _empty(self.library, self.device, shape, dtype or self.dtype)

    def numbers(self, count: int) -> Array:
        """int64 0, 1, ... up to `count`, which is left out."""
        with _current(self.library, self.device):
            return self.library.arange(count, **_placed(self.library, self.device))

    @cached_property
    def place(self) -> CudaPlace | None:
        """Where the kernels of one call run on arrays of this kind; None is the CPU."""
        return place_of(self.library, self.device)

    def result(self, array: Array) -> Array:
        """`array` in the dtype the caller works in."""
        return array if self.dtype == self.result_dtype else convert(array, self.result_dtype)


def kind_of(name: str, array: Array) -> Kind:
    """The kind of a floating array.

    Raises:
        TypeError: not an array, or not of floating dtype.
        DeviceError: a torch tensor that no kernel can read, or an array on a GPU in a process that was forked
            from one that had used it.
    """
    library = library_of(name, array)
    dtype = dtype_name(array)
    if is_torch(array) and (array.is_sparse or array.device.type not in ("cpu", "cuda")):
        what = "sparse" if array.is_sparse else f"on device {array.device}"
        raise DeviceError(f"{name}: expected a dense tensor on a CPU or CUDA device, got one {what}")
    if dtype not in _COMPUTED + _STORED:
        raise TypeError(f"{name}: expected float32 or float64 (or float16, bfloat16 as storage), got {dtype}")
    device = None if library is np else array.device
    if not _is_cpu(device):
        require_not_forked()  # before the library is asked for anything on the GPU: its errors tell less
    return Kind(library, device, "float32" if dtype in _STORED else dtype, dtype)


def place_of(library: Any, device: Any) -> CudaPlace | None:
    """The GPU of a torch or cupy device with the stream that the library works on; None for the CPU.

    Raises:
        DeviceError: this build has no CUDA kernels.
    """
    if _is_cpu(device):
        return None
    if not cuda_built:
        raise DeviceError(
            f"{device}: this build of srdfast has no CUDA kernels; move the arrays to the CPU, or build "
            "srdfast where CUDA 12.8 or newer is installed"
        )
    if library.__name__ == "torch":
        stream = library.cuda.current_stream(device)
        number, pointer = device.index, stream.cuda_stream
    else:
        with device:
            stream = library.cuda.get_current_stream()
        number, pointer = device.id, stream.ptr
    return CudaPlace(
        number, pointer, lambda size: _empty(library, device, (size,), "uint8"), stream.synchronize
    )


def _is_cpu(device: Any) -> bool:
    """Whether a device is the CPU: numpy's, which is None, or torch's."""
    return device is None or getattr(device, "type", "cuda") == "cpu"


def _empty(library: Any, device: Any, shape: Sequence[int], dtype: str) -> Array:
    """An uninitialised array on a device of a library; None is numpy's."""
    with _current(library, device):
        return library.empty(tuple(shape), dtype=getattr(library, dtype), **_placed(library, device))


def _placed(library: Any, device: Any) -> dict[str, Any]:
    """How a function of the library is told where to put its result."""
    return {"device": device} if library.__name__ == "torch" else {}


def _current(library: Any, device: Any) -> Any:
    """Makes a cupy device the one that cupy's functions mean."""
    return device if library.__name__ == "cupy" else nullcontext()


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

    Copies only what is not contiguous, is stored in half precision, or holds values to be zeroed. With
    `nonfinite="raise"` the native code looks for NaN and infinity on the CPU; on a GPU it is done here, which
    waits for the GPU, but not while the stream is captured into a graph. With None nobody looks here.

    Raises:
        ValueError: NaN or infinity on a GPU, or an unknown `nonfinite`.
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
    if nonfinite not in ("raise", "zero", None):
        raise ValueError(f'nonfinite: expected "raise", "zero" or None, got {nonfinite!r}')
    with _current(kind.library, kind.device):
        array = contiguous(convert(array, kind.dtype))
        if nonfinite == "zero":
            return _with_zeros(array, kind)
        if nonfinite == "raise" and may_look(kind.place):
            _require_finite(name, array, kind)
    return array


def may_look(place: CudaPlace | None) -> bool:
    """Whether values on a GPU can be looked at; on the CPU the native code does."""
    return place is not None and not is_capturing(place.device, place.stream)


def _with_zeros(array: Array, kind: Kind) -> Array:
    """`array` with 0 in the place of NaN and infinity; itself where that can be known without waiting."""
    finite = kind.library.isfinite(array)
    if kind.place is None and bool(finite.all()):
        return array
    return kind.library.where(finite, array, kind.library.zeros_like(array))


def _require_finite(name: str, array: Array, kind: Kind) -> None:
    finite = kind.library.isfinite(array)
    if bool(finite.all()):
        return
    entry = _first(~finite.reshape(len(array), -1).all(1))
    advice = '; clean it, or pass nonfinite="zero"' if name in ("signals", "images") else ""
    raise ValueError(
        f"{name}: expected finite values, got NaN or infinity in entry {entry} of the first axis{advice}"
    )


def _first(mask: Array) -> int:
    """The first position of a mask [n] that is set."""
    return int(mask.nonzero()[0].min())  # torch gives positions as rows, cupy as a tuple of arrays


def prepare_index(index: Array | None, kind: Kind) -> Array | None:
    """The dictionary index of each signal as contiguous int64, or None.

    Raises:
        TypeError: not an integer array, or not of the library of the signals.
    """
    if index is None:
        return None
    if isinstance(index, (list, tuple)):
        with _current(kind.library, kind.device):
            index = kind.library.asarray(
                index, **_placed(kind.library, kind.device), dtype=None if index else kind.library.int64
            )
    return _integers("index", index, kind, "int64")


def require_index(index: Array | None, dictionaries: int, kind: Kind) -> None:
    """Raises ValueError where an index on a GPU names no dictionary; on the CPU the native code looks."""
    if index is None or not may_look(kind.place):
        return
    wrong = _first_outside(index, 0, dictionaries, kind)
    if wrong is not None:
        position, got = wrong
        wanted = f"values from 0 to {dictionaries - 1}"
        raise ValueError(f"index: expected {wanted}, got {got} at position {position}")


def prepare_support(support: Array, kind: Kind, atoms: int, look: bool) -> Array:
    """Which atoms codes have, as the kernels want it: int32 numbers, or floating codes of `kind.dtype`.

    Raises:
        TypeError: neither, or not of the library, device and dtype of the first argument of the call.
        ValueError: on a GPU, with `look`, a number that is neither -1 nor that of one of `atoms`.
    """
    library_of("support", support)  # an error that names what is no array
    if not dtype_name(support).startswith(("int", "uint")):
        return prepare("support", support, kind, nonfinite=None)
    support = _integers("support", support, kind, "int32")
    if look and may_look(kind.place):
        wrong = _first_outside(support, -1, atoms, kind)
        if wrong is not None:
            entry, got = wrong
            wanted = f"atoms from 0 to {atoms - 1}, or -1"
            raise ValueError(f"support: expected {wanted}, got {got} in entry {entry} of the first axis")
    return support


def _integers(name: str, array: Array, kind: Kind, dtype: str) -> Array:
    """An integer array beside those of `kind`, contiguous and of `dtype`."""
    library = library_of(name, array)
    if library is not kind.library:
        raise TypeError(f"{name}: expected a {kind.library.__name__} array, got {library.__name__}")
    if not dtype_name(array).startswith(("int", "uint")):
        raise TypeError(f"{name}: expected integers, got {dtype_name(array)}")
    if getattr(array, "device", None) != kind.device and kind.place is not None:
        raise TypeError(f"{name}: expected it on {kind.device} like the first argument, got {array.device}")
    return contiguous(convert(array, dtype))


def _first_outside(numbers: Array, least: int, end: int, kind: Kind) -> tuple[int, int] | None:
    """The first entry of the first axis with a number below `least` or from `end` on, and that number."""
    with _current(kind.library, kind.device):
        wrong = (numbers < least) | (numbers >= end)
        if not bool(wrong.any()):
            return None
        entry = _first(wrong.reshape(len(wrong), -1).any(1))
        return entry, int(numbers[entry][wrong[entry]].reshape(-1)[0])


def contiguous(array: Array) -> Array:
    """`array`, or a copy of it with the last dimension fastest and no gaps."""
    if is_torch(array):
        return array.contiguous()
    return array if is_contiguous(array) else array.copy(order="C")


def copied(array: Array) -> Array:
    """A contiguous copy."""
    return array.clone() if is_torch(array) else array.copy(order="C")


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
