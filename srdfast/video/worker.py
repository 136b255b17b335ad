# SPDX-License-Identifier: Apache-2.0
"""The thread that purifies: one for each stream, since a purifier remembers the frames before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from .backlog import Backlog


class Worker(threading.Thread):
    """Takes items from a line, and finishes each with what `purify` makes of it.

    Args:
        backlog: the line. If `purify` raises, the line is stopped with that error.
        purify: item to result.
        purifier: whose `last` (`choose_ms`, `code_ms`) tells how long its steps took, if it has one.
    """

    def __init__(self, backlog: Backlog, purify: Callable[[Any], Any], purifier: Any) -> None:
        super().__init__(name="srdfast-purify", daemon=True)
        self._backlog, self._purify, self._purifier = backlog, purify, purifier

    def run(self) -> None:
        """Works until the line ends."""
        try:
            self._purifier.reset()
            while (entry := self._backlog.take()) is not None:
                start = time.perf_counter()
                result = self._purify(entry.item)
                entry.seconds["wait"] = start - entry.put
                entry.seconds["purify"] = time.perf_counter() - start
                last = getattr(self._purifier, "last", None)
                for step in ("choose", "code"):
                    milliseconds = getattr(last, f"{step}_ms", None)
                    if milliseconds is not None:
                        entry.seconds[step] = milliseconds / 1e3
                self._backlog.finish(entry, result)
        except BaseException as error:
            self._backlog.stop(error)
