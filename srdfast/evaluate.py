# SPDX-License-Identifier: Apache-2.0
"""The table: every defence under the same gray-box images, and under adaptive attacks of its own.

Threat models, kept apart by column (Carlini et al., "On Evaluating Adversarial Robustness", 2019):

- gray-box: the attacker knows the classifier and not the defence. The images are made once, on the
  undefended classifier, and shown to every row.
- adaptive: the attacker knows everything and runs PGD through the row's whole pipeline, with the
  purifier's gradient taken as the identity (BPDA: Athalye, Carlini and Wagner, "Obfuscated Gradients
  Give a False Sense of Security", 2018), and with its exact gradient where the purifier has one. A row
  without a purifier has its network attacked directly.
- worst: an image counts only if the row is right on it in every column.

Attacked images stay in floating point; nothing rounds them to 8 bits between attack and defence.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from . import attacks as attack_library
from .data import Dataset, balanced_rows
from .defences import SRDFAST, Pipeline, Row
from .pictures import View, draw, perturbation
from .report import Cell, Report, versions

CLEAN, IDENTITY, EXACT, WORST = "clean", "bpda", "exact", "worst"


@dataclass(frozen=True)
class Settings:
    """The attacks, all in the maximum norm on images in [0, 1].

    Attributes:
        attacks: gray-box attacks, of "fgsm", "pgd", "mi_fgsm".
        epsilon: largest change of a pixel.
        step: step of the iterated attacks.
        steps: steps of the gray-box attacks.
        adaptive_steps: steps of the adaptive attacks.
        adaptive_images: a class-balanced subset of so many images is attacked adaptively; 0: none.
        batch: images at a time.
        seed: of the random starts.
    """

    attacks: tuple[str, ...] = ("fgsm", "pgd", "mi_fgsm")
    epsilon: float = 8 / 255
    step: float = 2 / 255
    steps: int = 10
    adaptive_steps: int = 20
    adaptive_images: int = 1000
    batch: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.attacks:
            if name not in GRAY_BOX:
                raise ValueError(f"attacks: expected names among {sorted(GRAY_BOX)}, got {name!r}")
        if self.batch < 1 or self.steps < 1 or self.adaptive_steps < 1:
            raise ValueError("batch, steps and adaptive_steps: expected 1 or more")
        if not 0 <= self.epsilon <= 1 or self.adaptive_images < 0:
            raise ValueError("epsilon: expected 0 to 1; adaptive_images: expected 0 or more")


def evaluate(
    classifier: nn.Module,
    rows: Sequence[Row],
    dataset: Dataset,
    settings: Settings | None = None,
    *,
    device: str | torch.device = "cpu",
    progress: bool | None = None,
) -> Report:
    """Measure every row clean, under the gray-box attacks, and under the adaptive ones.

    Args:
        classifier: the protected network: images [batch, 3, height, width] in [0, 1] -> logits.
        rows: the defences, names distinct.
        dataset: the images; none of them may have been trained on.
        settings: the attacks; `Settings()` by default.
        device: where the networks and the images go.
        progress: a bar on stderr; by default only on a terminal.

    Returns:
        Report with one cell for every row and column that could be computed.
    """
    settings = settings or Settings()
    if len({row.name for row in rows}) < len(rows):
        raise ValueError(f"rows: expected distinct names, got {[row.name for row in rows]}")
    if len(dataset) == 0:
        raise ValueError("dataset: expected at least one image, got none")
    for network in (classifier, *(row.network for row in rows if row.network is not None)):
        _check_classes(network.to(device).eval(), dataset, device)

    adaptive = balanced_rows(dataset.labels, settings.adaptive_images)
    outcomes: dict[str, dict[str, list[Tensor]]] = {row.name: {} for row in rows}
    total = len(dataset) + len(adaptive) * len(rows)
    hidden = None if progress is None else not progress
    with tqdm(total=total, desc="evaluate", unit="image", disable=hidden) as bar:
        for start, images, labels in _batches(dataset, np.arange(len(dataset)), settings.batch, device):
            views = _gray_box(classifier, images, labels, settings, start)
            for row in rows:
                for column, view in views.items():
                    right = _right(Pipeline(row, classifier, labels), view, labels)
                    outcomes[row.name].setdefault(column, []).append(right)
            bar.update(len(images))
        for start, images, labels in _batches(dataset, adaptive, settings.batch, device):
            for row in rows:
                for column, right in _adaptive(row, classifier, images, labels, settings, start):
                    outcomes[row.name].setdefault(column, []).append(right)
                bar.update(len(images))
    cells = {name: _cells(columns, adaptive) for name, columns in outcomes.items()}
    return Report(cells, _record(settings, dataset, len(adaptive), device))


def save(
    folder: str | os.PathLike[str],
    report: Report,
    classifier: nn.Module,
    rows: Sequence[Row],
    dataset: Dataset,
    settings: Settings | None = None,
    device: str | torch.device = "cpu",
) -> None:
    """Write `report.json`, `report.md` and `pictures.png` (of the row "srdfast") to a folder.

    The arguments are those that `evaluate` made the report from.
    """
    folder = Path(folder)
    report.save_json(folder / "report.json")
    report.save_markdown(folder / "report.md")
    for row in rows:
        if row.name == SRDFAST:
            page(folder / "pictures.png", classifier, row, dataset, settings, device)


def page(
    path: str | os.PathLike[str],
    classifier: nn.Module,
    row: Row,
    dataset: Dataset,
    settings: Settings | None = None,
    device: str | torch.device = "cpu",
) -> None:
    """Write pictures of the gray-box PGD and of what `row` makes of it: the first image of each class.

    Args:
        path: the PNG file.
        classifier: the protected network.
        row: the defence.
        dataset: where the images come from; at most ten classes are shown.
        settings: the attack.
        device: where to compute.
    """
    settings = settings or Settings()
    chosen = balanced_rows(dataset.labels, min(10, len(dataset.classes)))
    chosen = chosen[np.argsort(dataset.labels[chosen])]
    _, clean, labels = next(_batches(dataset, chosen, len(chosen), device))
    classifier.to(device).eval()
    attacked = _pgd(classifier, clean, labels, settings, settings.steps, settings.seed)
    with torch.no_grad():
        purified = clean if row.defend is None else row.defend(attacked, labels)
        seen = [classifier(images).argmax(1).cpu().numpy() for images in (clean, attacked, purified)]
    pixels = [images.cpu().numpy() for images in (clean, attacked, purified)]
    draw(
        path,
        [
            View("clean", pixels[0], seen[0]),
            View("attacked", pixels[1], seen[1]),
            View("perturbation\n× 10", perturbation(pixels[0], pixels[1])),
            View("purified", pixels[2], seen[2]),
        ],
        labels.cpu().numpy(),
        dataset.classes,
        title="What the classifier sees before and after purification",
        subtitle=f"PGD of {settings.steps} steps, at most {settings.epsilon * 255:.3g}/255 a pixel, made on "
        "the undefended classifier (gray-box). The first image of each class, none left out.",
    )


def _pgd(
    model: nn.Module, images: Tensor, labels: Tensor, settings: Settings, steps: int, seed: int
) -> Tensor:
    return attack_library.pgd(
        model, images, labels, epsilon=settings.epsilon, step=settings.step, steps=steps, seed=seed
    )


GRAY_BOX: dict[str, Callable[[nn.Module, Tensor, Tensor, Settings, int], Tensor]] = {
    "fgsm": lambda model, x, y, s, seed: attack_library.fgsm(model, x, y, epsilon=s.epsilon),
    "pgd": lambda model, x, y, s, seed: _pgd(model, x, y, s, s.steps, seed),
    "mi_fgsm": lambda model, x, y, s, seed: attack_library.mi_fgsm(
        model, x, y, epsilon=s.epsilon, step=s.epsilon / s.steps, steps=s.steps
    ),
}


@torch.no_grad()
def _check_classes(network: nn.Module, dataset: Dataset, device: str | torch.device) -> None:
    _, image, _ = next(_batches(dataset, np.zeros(1, np.int64), 1, device))
    known = network(image).shape[1]
    if known != len(dataset.classes):
        raise ValueError(
            f"dataset: expected {known} classes, as the network knows, "
            f"got {len(dataset.classes)} in {dataset.name}"
        )


def _gray_box(
    classifier: nn.Module, images: Tensor, labels: Tensor, settings: Settings, start: int
) -> dict[str, Tensor]:
    views = {CLEAN: images}
    for name in settings.attacks:
        views[name] = GRAY_BOX[name](classifier, images, labels, settings, settings.seed + start)
    return views


def _adaptive(
    row: Row, classifier: nn.Module, images: Tensor, labels: Tensor, settings: Settings, start: int
) -> Iterator[tuple[str, Tensor]]:
    """The adaptive columns of one row on one batch: what the row still gets right."""
    for column in (IDENTITY, EXACT):
        if column == EXACT and row.exact is None:
            continue
        model = Pipeline(row, classifier, labels, exact=column == EXACT)
        attacked = _pgd(model, images, labels, settings, settings.adaptive_steps, settings.seed + start)
        yield column, _right(model, attacked, labels)


@torch.no_grad()
def _right(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return (model(images).argmax(1) == labels).cpu()  # bool [batch]


def _batches(
    dataset: Dataset, positions: np.ndarray, batch: int, device: str | torch.device
) -> Iterator[tuple[int, Tensor, Tensor]]:
    for start in range(0, len(positions), batch):
        chosen = positions[start : start + batch]
        images = torch.from_numpy(dataset.images[chosen]).to(device).float().div_(255)
        yield start, images, torch.from_numpy(dataset.labels[chosen]).to(device)


def _cells(columns: dict[str, list[Tensor]], adaptive: np.ndarray) -> dict[str, Cell]:
    """Count each column, and the images that are right in all of them (where all were measured)."""
    right = {column: torch.cat(parts).numpy() for column, parts in columns.items()}
    attacked = IDENTITY in right
    shared = [
        outcome[adaptive] if attacked and column not in (IDENTITY, EXACT) else outcome
        for column, outcome in right.items()
    ]
    right[WORST] = np.logical_and.reduce(shared)
    return {column: Cell(int(outcome.sum()), len(outcome)) for column, outcome in right.items()}


def _record(
    settings: Settings, dataset: Dataset, adaptive: int, device: str | torch.device
) -> dict[str, Any]:
    return {
        "attacks": {**asdict(settings), "norm": "Linf", "adaptive_images": adaptive},
        "data": {"name": dataset.name, "images": len(dataset), "identity": dataset.identity},
        "device": str(device),
        "versions": versions(),
    }
