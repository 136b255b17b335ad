# SPDX-License-Identifier: Apache-2.0
"""The record of an evaluation, from which an interrupted one goes on.

A text file of one JSON object a line: a key, and which images of one batch one row got right in one column.
A line is on the disk before the next is measured. A line that an interruption tore is passed over, and what
it would have said is measured again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

FILE = "outcomes.jsonl"


class Outcomes:
    """What has been measured, by key.

    Args:
        path: the file; made with the first outcome. None: nothing is kept.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path)
        self.known: dict[str, np.ndarray] = {}
        if self.path is not None and self.path.is_file():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                self._read(line)

    def _read(self, line: str) -> None:
        try:
            record = json.loads(line)
            right = np.array([int(mark) for mark in record["right"]], bool)
            self.known[str(record["key"])] = right
        except (ValueError, KeyError, TypeError):
            return

    def get(self, key: str) -> np.ndarray | None:
        """Which images were right, bool [batch]; None: not measured yet."""
        return self.known.get(key)

    def put(self, key: str, right: np.ndarray, about: Mapping[str, Any]) -> None:
        """Keep an outcome; `about` is written beside it for readers."""
        self.known[key] = right
        if self.path is None:
            return
        record = {"key": key, **about, "right": "".join("1" if mark else "0" for mark in right)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            if file.tell() and not _ends_with_a_line(self.path):
                file.write("\n")
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())


def key_of(parts: Mapping[str, Any]) -> str:
    """SHA-256 of everything that an outcome depends on, in hexadecimal."""
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _ends_with_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
