# SPDX-License-Identifier: Apache-2.0
"""Ending early but in order: what SIGINT and SIGTERM do to a run."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

GRACE = 5.0  # seconds that a run has to end by itself


class Signals:
    """While it is entered, a signal ends the run.

    The first one calls `stop`, if that is set, and the run has some seconds to write what it has read. After
    them, at a second signal, or if `stop` is not set, `KeyboardInterrupt` is raised wherever the run is.

    Attributes:
        stop: asks the run to end; called from the signal handler.
        received: the number of the signal that came, 0 for none.
    """

    def __init__(self) -> None:
        self.stop: Callable[[], None] | None = None
        self.received = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def exit_code(self) -> int:
        """Tells that a signal ended the run; 130 for SIGINT, 143 for SIGTERM."""
        number = self.received or signal.SIGINT
        print(f"srdfast: {'terminated' if number == signal.SIGTERM else 'interrupted'}", file=sys.stderr)
        return 128 + number

    def _handle(self, number: int, frame: object) -> None:
        first = not self.received
        if number != signal.SIGALRM:
            self.received = number
        if not first or self.stop is None:
            raise KeyboardInterrupt
        self.stop()
        signal.setitimer(signal.ITIMER_REAL, GRACE)
