# SPDX-License-Identifier: Apache-2.0
"""Purifying the frames that a program has in its hands, on a thread beside it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from .backlog import Backlog, Counts, Entry, Late
from .colour import planes_to_rgb, rgb_to_planes
from .formats import PlanePurifier, Planes
from .worker import Worker

Order = Literal["rgb", "bgr"]
Picture = np.ndarray | Sequence[np.ndarray]


@dataclass(frozen=True, slots=True)
class Purified:
    """A frame that comes out of a `Stream`.

    Attributes:
        frame: of the kind, shape and type that was put.
        pts: what was put with it.
        status: "purified", or "passed" (it was late and is NOT purified), or "repeated" (it was late; this is
            the last purified frame again).
        seconds: what it took: "wait" in the queue, "choose" and "code" as the purifier tells, "purify" with
            the conversion of colours, and "total", from `put` until the result was taken.
    """

    frame: Any
    pts: Any
    status: str
    seconds: dict[str, float]


class Stream:
    """Purifies frames in order on a thread of its own; one stream and one purifier for one video.

    A frame is

    - uint8 [height, width, 3], RGB or BGR as `order` says. It becomes full-range Y, U, V of BT.709 without
      subsampling, is purified, and becomes RGB again; the two conversions change a value by at most 2.
    - or planes (Y,) or (Y, U, V), uint8, or uint16 where `bit_depth` is more than 8, each [height, width],
      with chroma of 4:2:0, 4:2:2 or 4:4:4; or Y alone as one array [height, width].

    Frames are not copied when they are put: leave them alone until their result has come.

    ::

        with Stream(purifier, late="drop-oldest", queue=2) as stream:
            for frame in camera:
                stream.put(frame)
                for purified in stream.ready():
                    show(purified.frame)

    Args:
        purifier: a `FramePurifier`. It must serve no other stream meanwhile.
        late: what happens to a frame too many: "block" (`put` waits; with somebody else to take the results),
            "drop-oldest", "drop-newest", "repeat" (the last purified frame stands in), or "pass": the frame
            goes through NOT PURIFIED, which is a hole in the defence.
        queue: frames that may wait for the purifier.
        order: of the channels of frames [height, width, 3].
        bit_depth: of planes.
        full_range: whether planes use all values, or 16 to 235 (times 4 for 10 bits) for black to white.
        matrix: of planes: "bt601", "bt709" or "bt2020".

    Raises:
        ValueError: `late`, `queue`, `order` or `bit_depth` is not one of those.
    """

    def __init__(
        self,
        purifier: PlanePurifier,
        *,
        late: Late = "block",
        queue: int = 2,
        order: Order = "rgb",
        bit_depth: int = 8,
        full_range: bool = False,
        matrix: str = "bt709",
    ) -> None:
        if order not in ("rgb", "bgr"):
            raise ValueError(f"order: expected rgb or bgr, got {order!r}")
        if not 8 <= bit_depth <= 16:
            raise ValueError(f"bit_depth: expected 8 to 16, got {bit_depth}")
        self._purifier, self._order = purifier, order
        self._settings: dict[str, Any] = {"bit_depth": bit_depth, "full_range": full_range, "matrix": matrix}
        self._dtype = np.dtype(np.uint8 if bit_depth == 8 else np.uint16)
        self._backlog = Backlog(queue, late)
        self._worker = Worker(self._backlog, self._purify, purifier)
        self._worker.start()

    @property
    def counts(self) -> Counts:
        """How many frames came, and how many were purified, passed, repeated and dropped."""
        return self._backlog.counts

    def put(self, frame: Picture, pts: Any = None) -> None:
        """Brings a frame.

        Args:
            frame: as the class describes.
            pts: anything; comes out with the frame.

        Raises:
            TypeError: the frame is no array, or of another type.
            ValueError: the frame has another number of dimensions or planes, or the stream has ended.
            Exception: whatever the purifier raised for an earlier frame.
        """
        self._check(frame)
        if not self._backlog.put((frame, pts)):
            raise ValueError("put: the stream has ended")

    def get(self, timeout: float | None = None) -> Purified | None:
        """The next result, waiting for it; None once the stream has ended and everything was taken.

        Raises:
            TimeoutError: none came in `timeout` seconds.
            Exception: whatever the purifier raised.
        """
        entry = self._backlog.get(timeout)
        return None if entry is None else self._result(entry)

    def ready(self) -> Iterator[Purified]:
        """The results that are there, without waiting."""
        while True:
            try:
                purified = self.get(timeout=0)
            except TimeoutError:
                return
            if purified is None:
                return
            yield purified

    def __iter__(self) -> Iterator[Purified]:
        """The results as they come, until the stream has ended."""
        while (purified := self.get()) is not None:
            yield purified

    def end(self) -> None:
        """Says that no more frames will come; those on their way still come out."""
        self._backlog.end()

    def close(self) -> None:
        """Stops at once: frames on their way are lost. Waits for the purifier to finish the one it has."""
        self._backlog.stop()
        self._worker.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        failure = self._backlog.untold_error()
        if kind is None and failure is not None:
            raise failure

    def _purify(self, item: tuple[Picture, Any]) -> Any:
        frame = item[0]
        if not isinstance(frame, np.ndarray):
            return self._purifier.purify(tuple(frame), **self._settings)
        if frame.ndim == 2:
            return self._purifier.purify((frame,), **self._settings)[0]
        planes: Planes = rgb_to_planes(frame, self._order)
        purified = self._purifier.purify(planes, bit_depth=8, full_range=True, matrix="bt709")
        return planes_to_rgb(purified, self._order)

    def _result(self, entry: Entry) -> Purified:
        frame, pts = entry.item
        if entry.status == "passed":
            entry.result = frame
        seconds = {**entry.seconds, "total": time.perf_counter() - entry.put}
        return Purified(entry.result, pts, entry.status, seconds)

    def _check(self, frame: Picture) -> None:
        """Finds mistakes while the caller's line of code is still known."""
        if isinstance(frame, np.ndarray) and frame.ndim == 3:
            expected: np.dtype = np.dtype(np.uint8)
            if frame.shape[2] != 3:
                raise ValueError(f"frame: expected [height, width, 3], got {list(frame.shape)}")
            planes: Sequence[Any] = [frame[..., 0]]
        else:
            expected = self._dtype
            planes = [frame] if isinstance(frame, np.ndarray) else frame
        if len(planes) not in (1, 3):
            raise ValueError(f"frame: expected planes (Y,) or (Y, U, V), got {len(planes)} planes")
        for plane in planes:
            if not isinstance(plane, np.ndarray) or plane.dtype != expected:
                found = getattr(plane, "dtype", type(plane).__name__)
                raise TypeError(f"frame: expected arrays of {expected}, got {found}")
            if plane.ndim != 2 or plane.size == 0:
                raise ValueError(f"frame: expected planes [height, width], got {list(plane.shape)}")
