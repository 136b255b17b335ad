# SPDX-License-Identifier: Apache-2.0
"""What a run has to say of itself: counts of frames and percentiles of latencies, in bounded memory."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from .backlog import Counts

SHORTEST, STEP = 1e-6, 1.01  # seconds; each bin is 1% wider than the one before
BINS = 2400  # to 6 hours


class Latencies:
    """Percentiles of any number of durations to within 1%, and their exact maximum."""

    def __init__(self) -> None:
        self._counts = np.zeros(BINS, np.int64)
        self._largest = 0.0

    def add(self, seconds: float) -> None:
        """Counts one duration."""
        position = math.log(max(seconds, SHORTEST) / SHORTEST) / math.log(STEP)
        self._counts[min(int(position), BINS - 1)] += 1
        self._largest = max(self._largest, seconds)

    def percentile(self, share: float) -> float:
        """The duration in seconds that a share, in percent, do not exceed; 0 of none."""
        total = int(self._counts.sum())
        if total == 0:
            return 0.0
        rank = max(1, math.ceil(share / 100 * total))
        position = int(np.searchsorted(np.cumsum(self._counts), rank))
        return float(min(SHORTEST * STEP ** (position + 0.5), self._largest))

    def as_dict(self) -> dict[str, float]:
        """Milliseconds: p50, p90, p99 and max."""
        named = {f"p{share}": self.percentile(share) for share in (50, 90, 99)}
        return {name: round(1e3 * value, 3) for name, value in {**named, "max": self._largest}.items()}


class Statistics:
    """Latencies by step and frames a second, since the start and since the last look.

    The steps of a frame: decode (from its last bytes to its planes), wait (in the queue), choose and code
    (as the purifier tells them), purify (all that the purifier took), encode (with writing), total (from its
    last bytes until it was written).
    """

    def __init__(self) -> None:
        self.written = 0
        self._latencies: dict[str, Latencies] = {}
        self._start = self._looked = time.perf_counter()
        self._written_then = 0

    def add(self, seconds: Mapping[str, float]) -> None:
        """Counts one frame that was written, with what each of its steps took."""
        self.written += 1
        for name, value in seconds.items():
            self._latencies.setdefault(name, Latencies()).add(value)

    def rate(self) -> float:
        """Frames a second since this was asked the last time."""
        now, written = time.perf_counter(), self.written
        rate = (written - self._written_then) / max(now - self._looked, 1e-9)
        self._looked, self._written_then = now, written
        return rate

    def as_dict(self, counts: Counts) -> dict[str, Any]:
        """Everything, ready for JSON."""
        elapsed = time.perf_counter() - self._start
        became = dataclasses.asdict(counts)
        return {
            "frames": {"in": became.pop("came"), "out": self.written, **became},
            "seconds": round(elapsed, 3),
            "fps": round(self.written / max(elapsed, 1e-9), 3),
            "latency_ms": {name: steps.as_dict() for name, steps in self._latencies.items()},
        }

    def line(self, counts: Counts) -> str:
        """One line for a person, with the rate since the last one."""
        total = self._latencies.get("total", Latencies()).as_dict()
        lost = "".join(
            f", {value} {name}"
            for name in ("dropped", "passed", "repeated")
            if (value := getattr(counts, name)) or name == "dropped"
        )
        return (
            f"in {counts.came}, out {self.written}{lost}, {self.rate():.1f} frames/s, latency p50 "
            f"{total['p50']:.1f} p90 {total['p90']:.1f} p99 {total['p99']:.1f} max {total['max']:.1f} ms"
        )
