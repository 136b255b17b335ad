# SPDX-License-Identifier: Apache-2.0
"""One evaluation: every row in every column, each outcome kept as it is found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data import Dataset, balanced_rows
from ..defences import Pipeline, Row, fingerprint
from ..report import Cell, Report, versions
from .adaptive import ADAPTIVE, Case, bands_of
from .batches import Batch, batches
from .checks import Check, check_gradients, check_outcomes
from .gray_box import CORRUPTION, GRAY_BOX
from .outcomes import Outcomes, key_of
from .settings import Settings

CLEAN, WORST, WORST_GRAY_BOX = "clean", "worst", "worst_gray_box"
CHECKED = 32  # images on which randomness and gradients are looked at
FOR_SLOW_ROWS = "bpda"  # the one adaptive attack on rows that are measured on a sample
NOT_MEASURED = ("attacks", "adaptive", "adaptive_images", "checks")  # settings that change no outcome


@dataclass
class _Found:
    """What one row got right in one column: positions in the dataset, and outcomes beside them."""

    positions: list[np.ndarray] = field(default_factory=list)
    right: list[np.ndarray] = field(default_factory=list)

    def by_position(self) -> dict[int, bool]:
        pairs = zip(np.concatenate(self.positions), np.concatenate(self.right), strict=True)
        return {int(position): bool(mark) for position, mark in pairs}


class Run:
    """One evaluation: its inputs, and what it has found."""

    def __init__(
        self,
        classifier: nn.Module,
        rows: Sequence[Row],
        dataset: Dataset,
        settings: Settings,
        device: str | torch.device,
        outcomes: Outcomes,
    ) -> None:
        self.classifier, self.rows, self.dataset = classifier, rows, dataset
        self.settings, self.device, self.outcomes = settings, device, outcomes
        self.adaptive = balanced_rows(dataset.labels, settings.adaptive_images)
        self.found: dict[str, dict[str, _Found]] = {row.name: {} for row in rows}
        self.marks = {id(network): fingerprint(network) for network in self._networks()}

    def cells(self) -> int:
        """How many outcomes there will be."""
        whole = sum(min(row.sample or len(self.dataset), len(self.dataset)) for row in self.rows)
        aimed = sum(
            min(row.sample or len(self.adaptive), len(self.adaptive)) for row, _ in self._adaptive_columns()
        )
        return whole * (1 + len(self.settings.attacks)) + aimed

    def measure(self) -> Iterator[tuple[str, int]]:
        """Measure everything; yields the column and how many outcomes it added, as it goes."""
        everything = np.arange(len(self.dataset))
        for batch in batches(self.dataset, everything, self.settings.batch, self.device):
            for source, rows in self._by_source():
                for column in (CLEAN, *self.settings.attacks):
                    yield column, self._gray_box(column, source, rows, batch)
        for batch in batches(self.dataset, self.adaptive, self.settings.batch, self.device):
            for row, column in self._adaptive_columns():
                yield f"{row.name}: {column}", self._adaptive(row, column, batch)

    def report(self) -> Report:
        """Count what was found."""
        cells = {name: _cells(columns) for name, columns in self.found.items()}
        checks = {row.name: self._checks(row) for row in self.rows} if self.settings.checks else {}
        record = _record(self.settings, self.dataset, len(self.adaptive), self.device)
        return Report(cells, record, checks)

    def _networks(self) -> Iterator[nn.Module]:
        yield self.classifier
        for row in self.rows:
            yield from (network for network in (row.network, row.gray_box) if network is not None)

    def _by_source(self) -> list[tuple[nn.Module, list[Row]]]:
        """The networks that gray-box attackers know, each with the rows that are shown its images."""
        groups: dict[int, tuple[nn.Module, list[Row]]] = {}
        for row in self.rows:
            source = row.gray_box or self.classifier
            groups.setdefault(id(source), (source, []))[1].append(row)
        return list(groups.values())

    def _adaptive_columns(self) -> list[tuple[Row, str]]:
        return [
            (row, name)
            for row in self.rows
            for name in self.settings.adaptive
            if ADAPTIVE[name].applies(row) and (row.sample is None or name == FOR_SLOW_ROWS)
        ]

    def _gray_box(self, column: str, source: nn.Module, rows: list[Row], batch: Batch) -> int:
        """One column for the rows that share a source; the images are made only if a row lacks them."""
        view, count = None, 0
        for row in rows:
            part = batch.first(row.sample)
            if len(part) == 0:
                continue
            key = self._key(row, column, part, source)
            right = self.outcomes.get(key)
            if right is None:
                if view is None:
                    view = self._view(column, source, batch)
                model = Pipeline(row, self.classifier, part.labels)
                right = _right(model, view[: len(part)], part.labels)
                self._keep(key, right, row, column, part)
            self._add(row, column, part, right)
            count += len(part)
        return count

    def _view(self, column: str, source: nn.Module, batch: Batch) -> Tensor:
        if column == CLEAN:
            return batch.images
        seed = self.settings.seed + batch.start
        return GRAY_BOX[column].run(source, batch.images, batch.labels, self.settings, seed)

    def _adaptive(self, row: Row, column: str, batch: Batch) -> int:
        part = batch.first(row.sample)
        if len(part) == 0:
            return 0
        key = self._key(row, column, part, self.classifier)
        right = self.outcomes.get(key)
        if right is None:
            seed = self.settings.seed + part.start
            case = Case(row, self.classifier, part.images, part.labels, self.settings, seed)
            attacked = ADAPTIVE[column].run(case)
            right = _right(Pipeline(row, self.classifier, part.labels), attacked, part.labels)
            self._keep(key, right, row, column, part)
        self._add(row, column, part, right)
        return len(part)

    def _key(self, row: Row, column: str, batch: Batch, source: nn.Module) -> str:
        settings = {name: value for name, value in asdict(self.settings).items() if name not in NOT_MEASURED}
        network = row.network or self.classifier
        parts: dict[str, Any] = {
            "row": [row.name, row.identity, self.marks[id(network)], self.marks[id(source)]],
            "column": column,
            "settings": settings,
            "batch": [batch.start, batch.identity],
        }
        if column in ADAPTIVE and ADAPTIVE[column].of_band:
            parts["bands"] = bands_of(row)
        return key_of(parts)

    def _keep(self, key: str, right: np.ndarray, row: Row, column: str, batch: Batch) -> None:
        self.outcomes.put(key, right, {"row": row.name, "column": column, "first": batch.start})

    def _add(self, row: Row, column: str, batch: Batch, right: np.ndarray) -> None:
        found = self.found[row.name].setdefault(column, _Found())
        found.positions.append(batch.positions)
        found.right.append(right)

    def _checks(self, row: Row) -> list[Check]:
        if not len(self.adaptive):
            return []
        first = next(batches(self.dataset, self.adaptive, CHECKED, self.device)).first(row.sample)
        aimed = {
            name: found.by_position() for name, found in self.found[row.name].items() if name in ADAPTIVE
        }
        shared = sorted(set.intersection(*(set(marks) for marks in aimed.values()))) if aimed else []
        right = {name: np.array([marks[place] for place in shared]) for name, marks in aimed.items()}
        return check_gradients(row, self.classifier, first.images, first.labels) + check_outcomes(right)


@torch.no_grad()
def _right(model: nn.Module, images: Tensor, labels: Tensor) -> np.ndarray:
    return (model(images).argmax(1) == labels).cpu().numpy()  # bool [batch]


def _cells(columns: dict[str, _Found]) -> dict[str, Cell]:
    """Count each column, and the images that are right in all that count: gray-box alone, and everything."""
    marks = {column: found.by_position() for column, found in columns.items()}
    gray = {column: found for column, found in marks.items() if column not in ADAPTIVE}
    worst = {WORST: marks, WORST_GRAY_BOX: gray if len(gray) < len(marks) else {}}
    marks = {**marks, **{name: _worst(parts) for name, parts in worst.items()}}
    return {column: Cell(sum(found.values()), len(found)) for column, found in marks.items() if found}


def _worst(marks: dict[str, dict[int, bool]]) -> dict[int, bool]:
    """Whether each image is right in every column that counts, of those measured in all of them."""
    counting = [found for column, found in marks.items() if _counts(column)]
    shared = set.intersection(*(set(found) for found in counting)) if counting else set()
    return {place: all(found[place] for found in counting) for place in shared}


def _counts(column: str) -> bool:
    if column in ADAPTIVE:
        return ADAPTIVE[column].counts
    return column not in GRAY_BOX or GRAY_BOX[column].group != CORRUPTION


def _record(
    settings: Settings, dataset: Dataset, adaptive: int, device: str | torch.device
) -> dict[str, Any]:
    return {
        "attacks": {**asdict(settings), "norm": "Linf", "adaptive_images": adaptive},
        "data": {"name": dataset.name, "images": len(dataset), "identity": dataset.identity},
        "device": str(device),
        "versions": versions(),
    }
