# SPDX-License-Identifier: Apache-2.0
"""The whole study of one purifier: every row, rival and threat model, in settings that are never mixed.

- A: the protected classifier is not touched. First the one that the dictionaries were trained for, then,
  where opponents may be trained, a second of another architecture that nothing was trained on.
- B: the classifier is fine-tuned behind the purifier, beside a control: the same classifier fine-tuned on the
  same attacked images without one. Gray-box attackers know it either as it was before, as those of setting A
  do, or as it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .classifiers import Program, require_fits
from .data import Dataset, balanced_rows
from .defences import (
    SRDFAST,
    Row,
    fingerprint,
    image_row,
    purifier_row,
    random_dictionary_row,
    standard_rows,
)
from .errors import DataError
from .evaluate import Settings, evaluate, page
from .evaluation.outcomes import key_of
from .files import atomic_write, load_tensors, save_tensors
from .networks import ResNet
from .opponents.stl import learn_filters, stl
from .opponents.strengths import CANDIDATES, Scores, best_rivals, measure_strengths
from .opponents.training import Opponents
from .purifier import Purifier
from .report import Report
from .rivals import Purify
from .training import split_rows

PARTS = {
    "untouched": "A: the classifier untouched",
    "second": "A: a second classifier, unseen in training",
    "tuned": "B: the classifier fine-tuned, gray-box attackers know it as it was before",
    "known": "B: the classifier fine-tuned, gray-box attackers know it as it is",
}
Folder = str | os.PathLike[str] | None
VALIDATION_SHARE, VALIDATION_SEED = 0.02, 0  # of the training images that the networks which ship did not see
VALIDATION_IMAGES = 300  # of these, for the rivals' strengths


@dataclass(frozen=True)
class Study:
    """Reports by setting, and how the rivals were chosen.

    Attributes:
        parts: the report of each setting, by its title.
        strengths: for each rival the accuracies of each strength on validation images.
    """

    parts: dict[str, Report]
    strengths: Scores = field(default_factory=dict)

    def table(self) -> str:
        """Aligned text, setting by setting."""
        return "\n\n".join(f"{title}\n\n{part.table()}" for title, part in self.parts.items())

    def markdown(self) -> str:
        """A page: the tables of every setting, the checks, the strengths and the settings."""
        lines = ["# Accuracy under attack", "", "95% Wilson intervals in brackets.", ""]
        for title, part in self.parts.items():
            lines += [f"## {title}", "", part.caption(), "", *part.markdown_body()]
        if self.strengths:
            lines += ["## Strengths of the rivals", "", "Clean / attacked on validation images:", ""]
            for name, scores in self.strengths.items():
                tried = (f"{key:g}: {100 * a:.1f} / {100 * b:.1f}" for key, (a, b) in scores.items())
                lines.append(f"- {name} {'; '.join(tried)}")
            lines.append("")
        settings = next(iter(self.parts.values())).settings
        return "\n".join([*lines, "```json", json.dumps(settings, indent=2), "```", ""])

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        parts = {title: part.as_dict() for title, part in self.parts.items()}
        strengths = {
            name: {f"{key:g}": list(pair) for key, pair in scores.items()}
            for name, scores in self.strengths.items()
        }
        return {"parts": parts, "strengths": strengths}

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write `report.json` and `report.md`, each atomically."""
        with atomic_write(Path(folder) / "report.json") as file:
            file.write_text(json.dumps(self.as_dict(), indent=2) + "\n", encoding="utf-8")
        with atomic_write(Path(folder) / "report.md") as file:
            file.write_text(self.markdown(), encoding="utf-8")


@dataclass(frozen=True)
class Subject:
    """What is studied.

    Attributes:
        purifier: under test.
        classifier: the protected network.
        test: the images of the tables.
        train: the training images, for strengths and opponents.
        one_dictionary: a purifier with one dictionary for all images.
        denoiser: a convolutional denoiser of the purifier's cost.
        opponents: trained rivals, also in the place of the two above where they are None; None: those rows
            and settings are left out.
        stl_images: test images on which STL is measured, which takes seconds an image; 0: none.
        device: where to compute.
    """

    purifier: Purifier
    classifier: nn.Module
    test: Dataset
    train: Dataset
    one_dictionary: Purifier | None = None
    denoiser: nn.Module | None = None
    opponents: Opponents | None = None
    stl_images: int = 0
    device: str | torch.device = "cpu"


def study(
    subject: Subject,
    settings: Settings,
    out: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    parts: Sequence[str] | None = None,
) -> Study:
    """Measure everything, going on with what `out` holds.

    Args:
        subject: what is studied.
        settings: the attacks.
        out: folder of outcomes, reports and pictures; None: nothing is kept.
        progress: bars on stderr; by default only on a terminal.
        parts: names of `PARTS`; by default all that can be measured: without opponents the first alone, and
            those that fine-tune the classifier unless it is an exported program.

    Raises:
        DataError: the purifier or the classifier is for other classes than the data, or an exported
            classifier for other images.
        ValueError: a part is unknown or cannot be measured, or `parts` names none.
        ModuleNotFoundError: STL is to be measured, and sporco is not installed.
    """
    _require_fits(subject)
    chosen = _chosen_parts(subject, parts)
    if subject.stl_images and "untouched" in chosen:
        import_module("sporco")  # where it is missing, that is told now and not after hours
    scores = _strengths(subject, settings, out) if set(chosen) - {"tuned", "known"} else {}
    reports = {}
    for part in chosen:
        classifier, rows = _part(part, subject, best_rivals(scores), out)
        reports[PARTS[part]] = evaluate(
            classifier, rows, subject.test, settings, device=subject.device, progress=progress, out=out
        )
    found = Study(reports, scores)
    if out is not None:
        found.save(out)
        row = purifier_row(SRDFAST, subject.purifier)
        page(Path(out) / "pictures.png", subject.classifier, row, subject.test, settings, subject.device)
    return found


def _require_fits(subject: Subject) -> None:
    """Raise where the purifier or a classifier that tells its classes is not for the data."""
    data, known = subject.test, len(subject.purifier.bank.classes)
    classes, source = len(data.classes), f"data: {data.name}"
    if known != classes:
        raise DataError(f"purifier: expected one of {classes} classes, got {known} ({source})")
    if isinstance(subject.classifier, ResNet | Program):
        require_fits(subject.classifier, data.images.shape[1:], classes, source)


def _chosen_parts(subject: Subject, parts: Sequence[str] | None) -> list[str]:
    obstacles = {part: _obstacle(subject, part) for part in PARTS}
    if parts is None:
        return [part for part in PARTS if not obstacles[part]]
    if not parts:
        raise ValueError(f"parts: expected at least one name out of {', '.join(PARTS)}, got none")
    for part in parts:
        if part not in PARTS:
            raise ValueError(f"parts: expected names out of {', '.join(PARTS)}, got {part!r}")
        if obstacles[part]:
            raise ValueError(f"parts: {part} {obstacles[part]}")
    return [part for part in PARTS if part in parts]


def _obstacle(subject: Subject, part: str) -> str:
    """Why a part cannot be measured, or nothing."""
    if part != "untouched" and subject.opponents is None:
        return "needs opponents, which are trained; name a folder for them"
    if part in ("tuned", "known") and isinstance(subject.classifier, Program):
        return "fine-tunes the classifier, which an exported program does not bear"
    return ""


def _part(part: str, subject: Subject, rivals: dict[str, Purify], out: Folder) -> tuple[nn.Module, list[Row]]:
    """The protected classifier and the rows of one part."""
    opponents = subject.opponents
    if part == "untouched" or opponents is None:
        return subject.classifier, _rows(subject, rivals, out)
    if part == "second":
        return opponents.second, _common_rows(subject, rivals)
    rows = [
        replace(purifier_row("fine-tuned behind srdfast", subject.purifier), network=opponents.behind),
        Row("fine-tuned, no purifier", network=opponents.control),
    ]
    if part == "known":
        rows = [replace(row, gray_box=row.network) for row in rows]
    return subject.classifier, rows


def _rows(subject: Subject, rivals: dict[str, Purify], out: Folder) -> list[Row]:
    """All rows before the protected classifier."""
    extra = [random_dictionary_row("random dictionary", subject.purifier)]
    if subject.stl_images:
        filters = _filters(subject, out)
        row = image_row("STL (SPORCO)", stl(filters))
        mark = sha256(filters.tobytes()).hexdigest()
        extra.append(replace(row, sample=subject.stl_images, identity=mark))
    return _common_rows(subject, rivals, extra)


def _common_rows(subject: Subject, rivals: dict[str, Purify], extra: Sequence[Row] = ()) -> list[Row]:
    """Those that stand before the second classifier too, and `extra` before srdfast."""
    return standard_rows(subject.purifier, _one_dictionary(subject), rivals, _denoiser(subject), extra)


def _one_dictionary(subject: Subject) -> Purifier | None:
    if subject.one_dictionary is None and subject.opponents is not None:
        return subject.opponents.one_dictionary
    return subject.one_dictionary


def _denoiser(subject: Subject) -> nn.Module | None:
    if subject.denoiser is None and subject.opponents is not None:
        return subject.opponents.denoiser
    return subject.denoiser


def _strengths(subject: Subject, settings: Settings, out: Folder) -> Scores:
    """What every strength of the rivals reaches; from `out` where it is known."""
    classifier = subject.classifier.to(subject.device).eval()
    rows = validation_rows(subject.train.labels)
    tried = {name: list(strengths) for name, (_, strengths) in CANDIDATES.items()}
    mark = key_of(
        {
            "classifier": fingerprint(classifier),
            "data": subject.train.identity,
            "rows": rows.tolist(),
            "tried": tried,
            "epsilon": settings.epsilon,
            "seed": settings.seed,
        }
    )
    path = None if out is None else Path(out) / "strengths.json"
    if path is not None and path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["mark"] == mark:
            return {
                name: {json.loads(key): (a, b) for key, (a, b) in scores.items()}
                for name, scores in known["scores"].items()
            }
    images = torch.from_numpy(subject.train.images[rows]).to(subject.device).float() / 255
    labels = torch.from_numpy(subject.train.labels[rows]).to(subject.device)
    scores = measure_strengths(classifier, images, labels, settings.epsilon, settings.batch, settings.seed)
    if path is not None:
        with atomic_write(path) as file:
            file.write_text(json.dumps({"mark": mark, "scores": scores}, indent=2) + "\n", encoding="utf-8")
    return scores


def validation_rows(labels: np.ndarray) -> np.ndarray:
    """Rows of the training images on which the rivals' strengths are chosen, int64, the classes in balance.

    They are among those that training with the usual settings keeps aside. With another seed than its own
    they would be images that the classifier learned from, which it knows whatever is done to them.

    Args:
        labels: int64 [images], of the training images.
    """
    _, aside = split_rows(len(labels), VALIDATION_SHARE, VALIDATION_SEED)
    return aside[balanced_rows(labels[aside], VALIDATION_IMAGES)]


def _filters(subject: Subject, out: Folder) -> np.ndarray:
    """The filters of STL, learned from the training images; from `out` where they are known."""
    path = None if out is None else Path(out) / "stl-filters.safetensors"
    if path is not None and path.is_file():
        tensors, about = load_tensors(path)
        if about.get("data") == subject.train.identity:
            return tensors["filters"]
    filters = learn_filters(subject.train.images)
    if path is not None:
        save_tensors(path, {"filters": filters}, {"data": subject.train.identity})
    return filters
