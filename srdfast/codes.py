# SPDX-License-Identifier: Apache-2.0
"""What the coders are told and what they return: settings that are checked when made, and codes."""

import math
from dataclasses import dataclass
from typing import Literal

from .arrays import Array, contiguous, kind_of, prepare, prepare_index

Selection = Literal["correlation", "residual"]


@dataclass(frozen=True)
class OMP:
    """Orthogonal matching pursuit as the coder of a purification; see `omp`."""

    max_atoms: int = 4
    tolerance: float = 0.0
    selection: Selection = "correlation"

    def __post_init__(self) -> None:
        at_least("max_atoms", whole("max_atoms", self.max_atoms), 1)
        at_least("tolerance", number("tolerance", self.tolerance), 0)
        by_residual(self.selection)


@dataclass(frozen=True)
class Lasso:
    """The lasso as the coder of a purification; see `lasso`."""

    penalty: float = 0.1
    gap_tolerance: float = 1e-4
    max_sweeps: int = 1000

    def __post_init__(self) -> None:
        at_least("penalty", number("penalty", self.penalty), math.ulp(0))
        at_least("gap_tolerance", number("gap_tolerance", self.gap_tolerance), 0)
        at_least("max_sweeps", whole("max_sweeps", self.max_sweeps), 1)


@dataclass(frozen=True)
class LISTA:
    """Learned shrinkage steps as the coder of a purification; see `lista`."""

    steps: int = 1

    def __post_init__(self) -> None:
        at_least("steps", whole("steps", self.steps), 1)


Coder = OMP | Lasso | LISTA


@dataclass(frozen=True)
class OMPCodes:
    """What `omp` returns: at most `max_atoms` atoms per signal, in the order they were chosen."""

    indices: Array
    """int32 [batch, max_atoms], -1 where no atom was chosen."""
    values: Array
    """[batch, max_atoms], 0 where no atom was chosen."""
    counts: Array
    """int32 [batch], atoms chosen."""
    atoms: int
    """Atoms in a dictionary."""

    def dense(self) -> Array:
        """Codes [batch, atoms], zero outside the support."""
        kind = kind_of("values", self.values)
        codes = kind.library.zeros_like(kind.empty((len(self.values), self.atoms + 1), kind.result_dtype))
        columns = self.indices % (self.atoms + 1)  # -1 becomes the last, which is left out
        codes[kind.numbers(len(self.values))[:, None], columns] = self.values
        return contiguous(codes[:, : self.atoms])

    def reconstruct(self, dictionary: Array, index: Array | None = None) -> Array:
        """Signals [batch, features] = codes * dictionary, by the array library's own product."""
        return _reconstruct(self.dense(), dictionary, index)


@dataclass(frozen=True)
class DenseCodes:
    """Codes with an entry for every atom."""

    values: Array
    """[batch, atoms]."""

    def dense(self) -> Array:
        """Codes [batch, atoms]."""
        return self.values

    def reconstruct(self, dictionary: Array, index: Array | None = None) -> Array:
        """Signals [batch, features] = codes * dictionary, by the array library's own product."""
        return _reconstruct(self.values, dictionary, index)


@dataclass(frozen=True)
class LassoCodes(DenseCodes):
    """What `lasso` returns: codes with their certificate."""

    gap: Array
    """[batch], the duality gap: the objective is at most this far above its minimum."""


@dataclass(frozen=True)
class ListaCodes(DenseCodes):
    """What `lista` returns."""


def _reconstruct(codes: Array, dictionary: Array, index: Array | None) -> Array:
    kind = kind_of("codes", codes)
    codes = prepare("codes", codes, kind)
    dictionary = stacked(prepare("dictionary", dictionary, kind), 3)
    if dictionary.ndim != 3 or dictionary.shape[1] != codes.shape[1]:
        got = list(dictionary.shape)
        raise ValueError(f"dictionary: expected {codes.shape[1]} atoms, as the codes have, got shape {got}")
    if index is None:
        if len(dictionary) != 1:
            raise ValueError(f"index: expected the dictionary of each signal of {len(dictionary)}, got None")
        return kind.result(codes @ dictionary[0])
    index = contiguous(prepare_index(index, kind))
    if tuple(index.shape) != (len(codes),):
        raise ValueError(f"index: expected shape [{len(codes)}], one per signal, got {list(index.shape)}")
    if len(index) and not 0 <= int(index.min()) <= int(index.max()) < len(dictionary):
        extremes = f"{int(index.min())} to {int(index.max())}"
        raise ValueError(f"index: expected values from 0 to {len(dictionary) - 1}, got {extremes}")
    signals = kind.empty((len(codes), dictionary.shape[-1]))
    for d in range(len(dictionary)):
        mine = index == d
        signals[mine] = codes[mine] @ dictionary[d]
    return kind.result(signals)


def stacked(array: Array, rank: int) -> Array:
    """One dictionary as a stack of one."""
    return array[None] if array.ndim == rank - 1 else array


def whole(name: str, value: int) -> int:
    """`value` as an int that the kernels can hold, or an error that names the argument."""
    try:
        converted = int(value)
    except (TypeError, ValueError, OverflowError):
        converted = None
    if converted is None or converted != value or isinstance(value, bool):
        raise TypeError(f"{name}: expected a whole number, got {value!r}")
    if abs(converted) >= 2**31:
        raise ValueError(f"{name}: expected less than 2^31, got {converted}")
    return converted


def number(name: str, value: float) -> float:
    """`value` as a float, or an error that names the argument."""
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}") from None
    except OverflowError:
        raise ValueError(f"{name}: expected a number that fits a double") from None


def at_least(name: str, value: float, least: float) -> None:
    """An error that names the argument unless `value` is finite and at least `least`."""
    if not least <= value < math.inf:
        wanted = "above 0" if least == math.ulp(0) else f"of at least {least:g}"
        raise ValueError(f"{name}: expected a finite number {wanted}, got {value!r}")


def by_residual(selection: str) -> bool:
    """Whether atoms are selected by the residual, or an error for an unknown rule."""
    if selection not in ("correlation", "residual"):
        raise ValueError(f'selection: expected "correlation" or "residual", got {selection!r}')
    return selection == "residual"
