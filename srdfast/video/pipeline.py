# SPDX-License-Identifier: Apache-2.0
"""From a source to a sink: reading, purifying and writing at the same time, on a thread each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from ..errors import DataError
from .backlog import Backlog, Entry, Late
from .formats import Frame, Passenger, PlanePurifier, Planes, VideoFormat
from .statistics import Statistics
from .worker import Worker

GLANCE = 0.2  # seconds between two looks at the clock and at `stopped` while no frame comes


class Source(Protocol):
    """Where frames come from."""

    format: VideoFormat

    def __iter__(self) -> Iterator[Frame | Passenger]:
        """Frames, and the packets that travel with them, in order."""


class Sink(Protocol):
    """Where frames go."""

    def write(self, planes: Planes, pts: int, duration: int = 0) -> None:
        """Writes one frame."""

    def carry(self, passenger: Passenger) -> None:
        """Writes a packet that travels with the frames, or leaves it out."""


@dataclass(frozen=True)
class Flow:
    """How frames flow.

    Attributes:
        late: what happens to a frame too many; see `Backlog`.
        queue: frames that may wait for the purifier.
        timeout: seconds without a frame after which the source counts as dead; None waits for ever.
        frames: how many to take at most; None takes all.
    """

    late: Late = "block"
    queue: int = 2
    timeout: float | None = None
    frames: int | None = None


class Pipeline:
    """Runs a source through a purifier into a sink.

    Args:
        source: iterated over on a thread of its own.
        purifier: works on a second thread.
        flow: the rules.

    Attributes:
        statistics: what each frame took, as it goes on.
        stopped: set it, from a signal handler too, to end early: what was read is still written.
    """

    def __init__(self, source: Source, purifier: PlanePurifier, flow: Flow) -> None:
        self._source, self._flow = source, flow
        self._backlog = Backlog(flow.queue, flow.late)
        self.statistics = Statistics()
        self.counts = self._backlog.counts
        self.stopped = threading.Event()
        settings = source.format.of_purifier()
        self._worker = Worker(
            self._backlog, lambda frame: purifier.purify(frame.planes, **settings), purifier
        )
        self._feeder = threading.Thread(target=self._feed, name="srdfast-read", daemon=True)

    def run(self, sink: Sink, glance: Callable[[], None]) -> None:
        """Writes everything, on the calling thread; returns when all is written or `stopped` was set.

        Args:
            sink: where frames go.
            glance: called after each frame and some times a second in between.

        Raises:
            DataError: the source is dead, or what it raised.
            Exception: what the purifier or the sink raised. Frames before the error were written.
        """
        self._feeder.start()
        self._worker.start()
        try:
            while True:
                if self.stopped.is_set():
                    self._backlog.end()
                try:
                    entry = self._backlog.get(timeout=GLANCE)
                except TimeoutError:
                    self._check_source()
                else:
                    if entry is None:
                        return
                    self._write(entry, sink)
                glance()
        finally:
            self._backlog.stop()
            self._worker.join()

    def source_is_at_rest(self, timeout: float = 0.2) -> bool:
        """Whether nothing reads from the source any more, so that it can be closed."""
        self._feeder.join(timeout)
        return not self._feeder.is_alive()

    def _feed(self) -> None:
        frames = 0
        try:
            for item in self._source:
                if isinstance(item, Passenger):
                    self._backlog.carry(item)
                    continue
                frames += 1
                if not self._backlog.put(item) or frames == self._flow.frames:
                    break
        except BaseException as error:
            self._backlog.end(error)
        else:
            self._backlog.end()

    def _write(self, entry: Entry, sink: Sink) -> None:
        if entry.status == "carried":
            sink.carry(entry.item)
            return
        frame: Frame = entry.item
        planes = frame.planes if entry.status == "passed" else entry.result
        start = time.perf_counter()
        sink.write(planes, frame.pts, frame.duration)
        end = time.perf_counter()
        seconds = {"decode": frame.decode, "encode": end - start, "total": end - frame.arrived}
        self.statistics.add(entry.seconds | seconds)

    def _check_source(self) -> None:
        limit = self._flow.timeout
        silent = time.perf_counter() - self._backlog.last_put
        if limit is not None and silent > limit and self._backlog.is_idle():
            raise DataError(f"the source is dead: no frame for {limit:g} s (--timeout)")
