# SPDX-License-Identifier: Apache-2.0
"""What is computed of tensors once and kept until one of them changes."""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor

Made = TypeVar("Made")


@dataclass(frozen=True)
class _Kept(Generic[Made]):
    key: Hashable
    tensors: Sequence[Tensor]  # held, so that no other tensor gets the id of one of them
    state: list[tuple[int, int, int]]
    made: Made


@dataclass(frozen=True)
class _Remembered(Generic[Made]):
    tensors: Sequence[weakref.ref[Tensor]]
    state: list[tuple[int, int, int]]
    made: Made

    def alive(self) -> bool:
        return all(tensor() is not None for tensor in self.tensors)


class Derived(Generic[Made]):
    """Keeps one thing that was made. Threads may share it; copies and pickles of it start empty."""

    def __init__(self) -> None:
        self._kept: _Kept[Made] | None = None

    def of(self, key: Hashable, tensors: Sequence[Tensor], make: Callable[[], Made]) -> Made:
        """What `make()` returned for this key, unless a tensor was replaced, moved or written to since.

        Args:
            key: what else the result depends on.
            tensors: what it is made of, as it is now.
            make: makes it.
        """
        state = _state(tensors)
        kept = self._kept  # read once: another thread may replace it
        if kept is None or kept.key != key or kept.state != state:
            kept = self._kept = _Kept(key, tensors, state, make())
        return kept.made

    def __getstate__(self) -> dict[str, Any]:
        return {"_kept": None}


class Recent(Generic[Made]):
    """Keeps what was made of tensors for as long as they live unchanged; of too many, the latest used.

    Threads may share it. It does not keep the tensors alive.
    """

    def __init__(self, most: int = 16) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[int, ...], _Remembered[Made]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, tensors: Sequence[Tensor], make: Callable[[], Made]) -> Made:
        """What `make()` returned for these tensors, unless one of them was written to or moved since."""
        key, state = tuple(id(tensor) for tensor in tensors), _state(tensors)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept.alive() and kept.state == state:
                self._kept.move_to_end(key)
                return kept.made
        made = make()
        with self._lock:
            for old in [old for old, kept in self._kept.items() if not kept.alive()]:
                del self._kept[old]
            self._kept[key] = _Remembered([weakref.ref(tensor) for tensor in tensors], state, made)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return made


def _state(tensors: Sequence[Tensor]) -> list[tuple[int, int, int]]:
    """Which tensor it is, where it lies and how often it was written to; inference mode counts no writes."""
    return [
        (id(tensor), tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors
    ]
