# SPDX-License-Identifier: Apache-2.0
"""What an evaluation found: numbers with their uncertainty, as text, Markdown and JSON."""

from __future__ import annotations

import itertools
import json
import math
import os
import platform
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from .evaluation.checks import Check
from .evaluation.columns import COLUMNS
from .files import atomic_write

INTERVAL = "95% interval, at most"
WIDEST_TABLE = 9  # columns; what has more is cut into one table for each part of PARTS
PARTS = (("gray-box", "gray-box L2"), ("corruption",), ("adaptive", "black box"))  # each after "clean"
MEANINGS = {
    "gray-box": (
        "the attacker knows a network and not the defence. The images are made once, on the undefended "
        "network ({efforts}), and shown to every row."
    ),
    "gray-box L2": "the same, with changes of at most {epsilon_l2:g} in the L2 norm ({efforts}).",
    "corruption": "no attacker: CIFAR-10-C's corruptions at severity {severity}.",
    "adaptive": (
        "the attacker knows everything and attacks the row's whole pipeline (PGD: {adaptive_steps} steps). "
        "BPDA takes the purifier's gradient as the identity, exact computes it. A row without a purifier has "
        "its own network attacked directly."
    ),
    "black box": "the attacker sees the whole pipeline's logits alone ({queries} queries).",
}
WORST = "right under every attack within the budgets, image by image; a stronger attack can only lower it."
USUAL = ("bpda", "exact")  # told in the meaning of their group
PACKAGES = ("srdfast", "numpy", "torch", "scipy", "scikit-image", "pillow", "faiss-cpu", "sporco")


def wilson(correct: int, images: int) -> tuple[float, float]:
    """The 95% interval of a proportion, in [0, 1] (Wilson 1927, no continuity correction).

    Args:
        correct: successes, 0 to `images`.
        images: trials, at least 1.
    """
    if images < 1 or not 0 <= correct <= images:
        raise ValueError(
            f"correct, images: expected 0 <= correct <= images, images >= 1, got {correct}, {images}"
        )
    z = 1.959963984540054
    rate = correct / images
    centre = rate + z * z / (2 * images)
    half = z * math.sqrt(rate * (1 - rate) / images + z * z / (4 * images * images))
    scale = 1 + z * z / images
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


@dataclass(frozen=True)
class Cell:
    """How many of `images` were classified correctly."""

    correct: int
    images: int

    @property
    def accuracy(self) -> float:
        """Fraction correct, in [0, 1]."""
        return self.correct / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """95% Wilson interval of the accuracy."""
        return wilson(self.correct, self.images)

    def as_dict(self) -> dict[str, Any]:
        """Accuracy and interval in [0, 1], and the counts they come from."""
        return {
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "correct": self.correct,
            "images": self.images,
        }


@dataclass(frozen=True)
class Report:
    """Cells by row and column, the settings they were measured with, and what was checked of each row.

    A column that could not be computed for a row is absent from its mapping.
    """

    cells: Mapping[str, Mapping[str, Cell]]
    settings: Mapping[str, Any]
    checks: Mapping[str, Sequence[Check]] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that any row has, from clean to worst."""
        present = {column for row in self.cells.values() for column in row}
        return tuple(column for column in COLUMNS if column in present)

    def parts(self) -> list[tuple[str, ...]]:
        """The columns of each table: one of them all, or where they are too many, one a threat model."""
        if len(self.columns) <= WIDEST_TABLE:
            return [self.columns]
        cut = [tuple(c for c in self.columns if COLUMNS[c].group in groups) for groups in PARTS]
        cut = [("clean", *part) for part in cut if part]
        return [*cut[:-1], (*cut[-1], *(column for column in self.columns if column == "worst"))]

    def table(self) -> str:
        """Aligned text: percent correct; the widest interval of each column in the last line."""
        lines = [self.caption(), ""]
        for part in self.parts():
            lines += [*self._table(part), ""]
        for group, meaning in self.meanings().items():
            lines += textwrap.wrap(f"{group}: {meaning}", 100, subsequent_indent="  ", break_on_hyphens=False)
        lines += [f"warning: {text}" for text in self.failures()]
        return "\n".join(line.rstrip() for line in lines)

    def failures(self) -> list[str]:
        """The checks that did not pass, in words."""
        return [
            f"{row}: {check.name} {check.value:.3g}, expected {check.expected}"
            for row, checks in self.checks.items()
            for check in checks
            if not check.passed
        ]

    def markdown(self) -> str:
        """A page: the tables with the 95% interval in every cell, what each column means, the settings."""
        lines = ["# Accuracy under attack", "", f"{self.caption()} 95% Wilson intervals in brackets.", ""]
        lines += self.markdown_body()
        lines += ["```json", json.dumps(self.settings, indent=2), "```", ""]
        return "\n".join(lines)

    def markdown_body(self) -> list[str]:
        """The lines of tables, meanings and checks."""
        lines: list[str] = []
        for part in self.parts():
            heads = [": ".join(filter(None, (COLUMNS[c].group, COLUMNS[c].heading))) for c in part]
            lines += [f"| {' | '.join(['defence', *heads])} |", "|---|" + "---:|" * len(heads)]
            for name, row in self.cells.items():
                values = [_percent(row.get(column), interval=True) for column in part]
                lines.append(f"| {' | '.join([name, *values])} |")
            lines.append("")
        lines += [*(f"- **{group}**: {meaning}" for group, meaning in self.meanings().items()), ""]
        if self.checks:
            passed = "Every check passed: " if not self.failures() else "Checks that did not pass: "
            names = sorted({check.name for checks in self.checks.values() for check in checks})
            lines += [passed + "; ".join(self.failures() or names) + ".", ""]
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON; accuracies and intervals in [0, 1]."""
        rows = [
            {"name": name, "columns": {column: cell.as_dict() for column, cell in row.items()}}
            for name, row in self.cells.items()
        ]
        return {
            "rows": rows,
            "columns": list(self.columns),
            "threat_models": self.meanings(),
            "interval": "Wilson, 95%",
            "settings": dict(self.settings),
            "checks": {row: [check.as_dict() for check in checks] for row, checks in self.checks.items()},
        }

    def save_json(self, path: str | os.PathLike[str]) -> None:
        """Write `as_dict` to `path`, atomically."""
        with atomic_write(path) as file:
            file.write_text(json.dumps(self.as_dict(), indent=2) + "\n", encoding="utf-8")

    def save_markdown(self, path: str | os.PathLike[str]) -> None:
        """Write `markdown` to `path`, atomically."""
        with atomic_write(path) as file:
            file.write_text(self.markdown(), encoding="utf-8")

    def caption(self) -> str:
        """What was measured on what, in a sentence or two."""
        attack, data = self.settings["attacks"], self.settings["data"]
        adaptive = attack["adaptive_images"]
        return (
            f"Percent classified correctly: {data['name']}, {data['images']} images"
            + (f", {adaptive} of them attacked adaptively" if adaptive else "")
            + f"; {attack['norm']} attacks, epsilon {attack['epsilon'] * 255:.3g}/255."
        )

    def meanings(self) -> dict[str, str]:
        """The threat model of every group of columns present, in words."""
        attack, groups = self.settings["attacks"], {COLUMNS[column].group for column in self.columns}
        meanings = {
            group: text.format(**attack, efforts=self._efforts(group))
            for group, text in MEANINGS.items()
            if group in groups
        }
        for column in self.columns:
            if COLUMNS[column].meaning and column not in USUAL:
                meanings[COLUMNS[column].heading] = f"{COLUMNS[column].meaning}."
        return {**meanings, **({"worst": WORST} if "worst" in self.columns else {})}

    def _efforts(self, group: str) -> str:
        """How much the attackers of a group's columns do, in words."""
        columns = (COLUMNS[column] for column in self.columns if COLUMNS[column].group == group)
        told = (f"{column.heading}: {column.effort}" for column in columns if column.effort)
        return "; ".join(told).format(**self.settings["attacks"])

    def _table(self, part: tuple[str, ...]) -> list[str]:
        names = [*self.cells, INTERVAL]
        width = max(len(name) for name in names)
        heads = [COLUMNS[column].heading for column in part]
        widths = [max(8, len(head) + 2) for head in heads]
        rows = [[_percent(row.get(column)) for column in part] for row in self.cells.values()]
        rows.append([self._widest(column) for column in part])
        lines = [" " * width + self._group_line(part, widths)]
        for name, values in zip(["defence", *names], [heads, *rows], strict=True):
            cells = (value.rjust(size) for value, size in zip(values, widths, strict=True))
            lines.append(name.ljust(width) + "".join(cells))
        rule = "-" * len(lines[1])
        return [*lines[:2], rule, *lines[2:-1], rule, lines[-1]]

    @staticmethod
    def _group_line(part: tuple[str, ...], widths: list[int]) -> str:
        """The line above the headings: each group's name centred over its columns."""
        pairs = zip((COLUMNS[column].group for column in part), widths, strict=True)
        line = ""
        for name, run in itertools.groupby(pairs, key=lambda pair: pair[0]):
            size = sum(width for _, width in run)
            line += f"  {f' {name} '.center(size - 2, '-')}" if name else " " * size
        return line

    def _widest(self, column: str) -> str:
        intervals = [row[column].interval for row in self.cells.values() if column in row]
        return f"±{50 * max(high - low for low, high in intervals):.1f}"


def versions() -> dict[str, str]:
    """The versions of Python and of every package that has a say in the numbers, where installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _percent(cell: Cell | None, interval: bool = False) -> str:
    if cell is None:
        return ""
    low, high = cell.interval
    return f"{100 * cell.accuracy:.1f}" + (f" [{100 * low:.1f}, {100 * high:.1f}]" if interval else "")
