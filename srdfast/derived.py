# SPDX-License-Identifier: Apache-2.0
"""What is computed of tensors once and kept until one of them changes."""

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


def _state(tensors: Sequence[Tensor]) -> list[tuple[int, int, int]]:
    """Which tensor it is, where it lies and how often it was written to; inference mode counts no writes."""
    return [
        (id(tensor), tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors
    ]
