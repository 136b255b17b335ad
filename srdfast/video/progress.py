# SPDX-License-Identifier: Apache-2.0
"""What a run tells on stderr while it goes on."""

from __future__ import annotations

import json
import sys
import time
from typing import Literal

from .backlog import Counts
from .statistics import Statistics

Style = Literal["auto", "bar", "json", "lines", "off"]
BAR = 24


class Progress:
    """Tells of a run once a second, in one of four ways.

    Args:
        style: "bar" redraws one line with rate and remaining time; "lines" and "json" write a line of
            statistics each; "off" says nothing; "auto" is a bar on a terminal and otherwise off.
        expected: how many frames there are, if that is known.
    """

    def __init__(self, style: Style, expected: int | None) -> None:
        if style == "auto":
            style = "bar" if sys.stderr.isatty() else "off"
        self._style, self._expected = style, expected
        self._start = self._told = time.perf_counter()

    def glance(self, statistics: Statistics, counts: Counts) -> None:
        """Tells, if it is time."""
        now = time.perf_counter()
        if self._style != "off" and now - self._told >= 1:
            self._told = now
            self._tell(statistics, counts)

    def close(self) -> None:
        """Leaves the line of the bar."""
        if self._style == "bar" and self._told != self._start:
            print(file=sys.stderr, flush=True)

    def _tell(self, statistics: Statistics, counts: Counts) -> None:
        if self._style == "bar":
            print("\r" + self._bar(statistics) + "\x1b[K", end="", file=sys.stderr, flush=True)
        elif self._style == "json":
            print(json.dumps(statistics.as_dict(counts)), file=sys.stderr, flush=True)
        else:
            print(statistics.line(counts), file=sys.stderr, flush=True)

    def _bar(self, statistics: Statistics) -> str:
        done, elapsed = statistics.written, time.perf_counter() - self._start
        rate = done / elapsed
        text = f"{done} frames, {rate:.1f} frames/s"
        if not self._expected:
            return text
        share = min(done / self._expected, 1.0)
        filled = "#" * round(BAR * share)
        left = f", {_clock((self._expected - done) / rate)} left" if 0 < done <= self._expected else ""
        return f"[{filled:<{BAR}}] {share:4.0%} {text}{left}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
