# SPDX-License-Identifier: Apache-2.0
"""What an evaluation found: numbers with their uncertainty, as text, Markdown and JSON."""

from __future__ import annotations

import itertools
import json
import math
import os
import platform
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from .files import atomic_write

HEADINGS = {
    "clean": "clean",
    "fgsm": "FGSM",
    "pgd": "PGD",
    "mi_fgsm": "MI-FGSM",
    "bpda": "BPDA",
    "exact": "exact",
    "worst": "worst",
}
GROUP_OF = {
    "fgsm": "gray-box",
    "pgd": "gray-box",
    "mi_fgsm": "gray-box",
    "bpda": "adaptive",
    "exact": "adaptive",
}
INTERVAL = "95% interval, at most"
PACKAGES = ("srdfast", "numpy", "torch", "scipy", "scikit-image", "pillow", "faiss-cpu")


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
    """Cells by row and column, and the settings they were measured with.

    A column that could not be computed for a row is absent from its mapping.
    """

    cells: Mapping[str, Mapping[str, Cell]]
    settings: Mapping[str, Any]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that any row has, from clean to worst."""
        present = {column for row in self.cells.values() for column in row}
        return tuple(column for column in HEADINGS if column in present)

    def table(self) -> str:
        """Aligned text: percent correct; the widest interval of each column in the last line."""
        names = [*self.cells, INTERVAL]
        width = max(len(name) for name in names)
        rows = [[_percent(row.get(column)) for column in self.columns] for row in self.cells.values()]
        rows.append([self._widest(column) for column in self.columns])
        heads = [HEADINGS[column] for column in self.columns]
        lines = [" " * (width + 8) + self._group_line()]
        for name, values in zip(["defence", *names], [heads, *rows], strict=True):
            lines.append(name.ljust(width) + "".join(f"{value:>8}" for value in values))
        rule = "-" * len(lines[1])
        lines = [self.caption(), "", *lines[:2], rule, *lines[2:-1], rule, lines[-1], ""]
        for group, meaning in self.meanings().items():
            lines += textwrap.wrap(f"{group}: {meaning}", 100, subsequent_indent="  ", break_on_hyphens=False)
        return "\n".join(line.rstrip() for line in lines)

    def markdown(self) -> str:
        """A page: the table with the 95% interval in every cell, what each column means, the settings."""
        heads = [": ".join(filter(None, (GROUP_OF.get(c), HEADINGS[c]))) for c in self.columns]
        lines = ["# Accuracy under attack", "", f"{self.caption()} 95% Wilson intervals in brackets.", ""]
        lines += [f"| {' | '.join(['defence', *heads])} |", "|---|" + "---:|" * len(heads)]
        for name, row in self.cells.items():
            values = [_percent(row.get(column), interval=True) for column in self.columns]
            lines.append(f"| {' | '.join([name, *values])} |")
        lines += ["", *(f"- **{group}**: {meaning}" for group, meaning in self.meanings().items())]
        lines += ["", "```json", json.dumps(self.settings, indent=2), "```", ""]
        return "\n".join(lines)

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
        attack, groups = self.settings["attacks"], {GROUP_OF.get(column) for column in self.columns}
        meanings = {}
        if "gray-box" in groups:
            meanings["gray-box"] = (
                "the attacker knows the classifier and not the defence. The images are made once, on the "
                f"undefended classifier ({attack['steps']} steps; FGSM: one), and shown to every row."
            )
        if "adaptive" in groups:
            meanings["adaptive"] = (
                f"the attacker knows everything and runs PGD ({attack['adaptive_steps']} steps) through the "
                "row's whole pipeline. BPDA takes the purifier's gradient as the identity, exact computes "
                "it. A row without a purifier has its own network attacked directly."
            )
        if "worst" in self.columns:
            meanings["worst"] = (
                "right in every column to the left, image by image; a stronger attack can only lower it."
            )
        return meanings

    def _group_line(self) -> str:
        """The line above the headings: each group's name centred over its columns."""
        groups = [GROUP_OF.get(column, "") for column in self.columns if column != "clean"]
        return "".join(
            f"  {f' {name} '.center(8 * len(list(run)) - 2, '-')}" if name else " " * 8 * len(list(run))
            for name, run in itertools.groupby(groups)
        )

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
