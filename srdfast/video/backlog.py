# SPDX-License-Identifier: Apache-2.0
"""The bounded line of frames between the one who brings them, the purifier and the one who takes them."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

LATE = ("block", "drop-oldest", "drop-newest", "pass", "repeat")
Late = Literal["block", "drop-oldest", "drop-newest", "pass", "repeat"]
Status = Literal["waiting", "busy", "purified", "passed", "repeated", "carried"]
LATE_ROOM = 8  # frames let through or repeated that may wait to be taken, for each place of the queue


@dataclass(slots=True, eq=False)
class Entry:
    """One item in the line.

    Attributes:
        item: what was put.
        status: where it stands; "carried" is an item that is not for the purifier.
        result: what the purifier made of it, or what stands in for that.
        seconds: what each step took.
        put: `time.perf_counter` when it came into the line.
    """

    item: Any
    status: Status = "waiting"
    result: Any = None
    seconds: dict[str, float] = field(default_factory=dict)
    put: float = field(default_factory=time.perf_counter)


@dataclass(slots=True)
class Counts:
    """What became of the frames."""

    came: int = 0
    purified: int = 0
    passed: int = 0
    repeated: int = 0
    dropped: int = 0


class Backlog:
    """A line of frames that never grows without bound and never changes their order.

    Three threads meet here: one puts frames, one takes them to purify and finishes them, one gets the
    results. At most `queue` frames wait. What happens to a frame too many is `late`:

    - "block": whoever puts waits. Nothing is lost.
    - "drop-oldest": the frame that has waited longest is dropped. The results are as fresh as can be.
    - "drop-newest": the new frame is dropped.
    - "pass": the frame that has waited longest goes through NOT PURIFIED.
    - "repeat": in place of the frame that has waited longest the last purified one is shown again.

    Args:
        queue: frames that may wait, 1 or more.
        late: what happens to a frame too many.

    Raises:
        ValueError: `late` is none of the above or `queue` is under 1.
    """

    def __init__(self, queue: int, late: Late) -> None:
        if late not in LATE:
            raise ValueError(f"late: expected one of {', '.join(LATE)}, got {late!r}")
        if queue < 1:
            raise ValueError(f"queue: expected 1 or more, got {queue}")
        self.counts = Counts()
        self.last_put = time.perf_counter()
        self._queue, self._late = queue, late
        # Where frames may be lost, a result that waits to be taken grows old: the purifier waits as well.
        self._finished_room = queue + 1 if late == "block" else 1
        self._line: deque[Entry] = deque()
        self._changed = threading.Condition()
        self._ended = self._stopped = False
        self._told = False
        self._error: BaseException | None = None
        self._last_result: Any = None

    def put(self, item: Any) -> bool:
        """Adds a frame; False if the line has ended.

        Raises:
            BaseException: whatever the purifier raised.
        """
        with self._changed:
            self.last_put = time.perf_counter()
            if self._late == "block":
                self._changed.wait_for(lambda: self._closed() or self._count("waiting") < self._queue)
            self._raise_if_stopped()
            if self._ended:
                return False
            self.counts.came += 1
            if self._late == "drop-newest" and self._count("waiting") >= self._queue:
                self.counts.dropped += 1
                return True
            self._line.append(Entry(item))
            if self._count("waiting") > self._queue:
                self._make_room()
            self._changed.notify_all()
            return True

    def carry(self, item: Any) -> None:
        """Adds something that is not for the purifier, and only keeps its place in the line."""
        with self._changed:
            if not self._closed():
                self._line.append(Entry(item, status="carried"))
                self._changed.notify_all()

    def take(self) -> Entry | None:
        """The next frame to purify, waiting for one; None when there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._takeable() or self._exhausted())
            if self._stopped or not self._takeable():
                return None
            entry = next(entry for entry in self._line if entry.status == "waiting")
            entry.status = "busy"
            return entry

    def finish(self, entry: Entry, result: Any) -> None:
        """Gives a frame that was taken its result."""
        with self._changed:
            entry.result, entry.status = result, "purified"
            self._changed.notify_all()

    def get(self, timeout: float | None = None) -> Entry | None:
        """The next result in order, waiting for it; None when there will be no more.

        Raises:
            TimeoutError: none came in `timeout` seconds.
            BaseException: whatever the purifier raised, at once; or, after the last result, the error with
                which the line ended.
        """
        deadline = None if timeout is None else time.perf_counter() + timeout
        with self._changed:
            while True:
                left = None if deadline is None else max(deadline - time.perf_counter(), 0)
                if not self._changed.wait_for(lambda: self._stopped or self._ready() or self._empty(), left):
                    raise TimeoutError
                self._raise_if_stopped()
                if not self._line:
                    if self._error is not None:
                        raise self._error
                    return None
                entry = self._line.popleft()
                self._changed.notify_all()
                if self._settle(entry):
                    return entry

    def end(self, error: BaseException | None = None) -> None:
        """No more frames will be put; `error` is raised after the last result."""
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
            self._changed.notify_all()

    def stop(self, error: BaseException | None = None) -> None:
        """Everybody stops waiting at once; `error` is raised in whoever puts or gets."""
        with self._changed:
            if not self._stopped:
                self._ended = self._stopped = True
                self._error = error
                self._line.clear()
            self._changed.notify_all()

    def untold_error(self) -> BaseException | None:
        """The error with which the line was stopped, if nobody has been told yet."""
        return None if self._told or not self._stopped else self._error

    def is_idle(self) -> bool:
        """Whether nothing is in the line."""
        with self._changed:
            return not self._line

    def _count(self, status: Status) -> int:
        return sum(entry.status == status for entry in self._line)

    def _closed(self) -> bool:
        return self._ended or self._stopped

    def _takeable(self) -> bool:
        return self._count("waiting") > 0 and self._count("purified") < self._finished_room

    def _exhausted(self) -> bool:
        return self._ended and self._count("waiting") == 0

    def _ready(self) -> bool:
        return bool(self._line) and self._line[0].status not in ("waiting", "busy")

    def _empty(self) -> bool:
        return self._ended and not self._line

    def _make_room(self) -> None:
        """Deals with the frame that has waited longest, as `late` says."""
        oldest = next(entry for entry in self._line if entry.status == "waiting")
        if self._late == "drop-oldest":
            self._drop(oldest)
            return
        oldest.status = "passed" if self._late == "pass" else "repeated"
        if oldest.status == "passed":
            oldest.result = oldest.item
        late = [entry for entry in self._line if entry.status == oldest.status]
        if len(late) > LATE_ROOM * self._queue:  # nobody takes them: they must not pile up
            self._drop(late[0])

    def _drop(self, entry: Entry) -> None:
        self._line.remove(entry)
        self.counts.dropped += 1

    def _settle(self, entry: Entry) -> bool:
        """Counts an entry that leaves the line; False if there is nothing to show for it."""
        if entry.status == "purified":
            self.counts.purified += 1
            self._last_result = entry.result if self._late == "repeat" else None
        elif entry.status == "passed":
            self.counts.passed += 1
        elif entry.status == "repeated":
            entry.result = self._last_result
            if entry.result is None:  # nothing was purified yet that could be shown again
                self.counts.dropped += 1
                return False
            self.counts.repeated += 1
        return True

    def _raise_if_stopped(self) -> None:
        if self._stopped and self._error is not None:
            self._told = True
            raise self._error
