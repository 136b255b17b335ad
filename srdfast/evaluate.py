# SPDX-License-Identifier: Apache-2.0
"""The table: every defence under the same gray-box images, and under adaptive attacks of its own.

Threat models, kept apart by column (Carlini et al., "On Evaluating Adversarial Robustness", 2019):

- gray-box: the attacker knows a network and not the defence. The images are made once, on the undefended
  network, and shown to every row (`srdfast.evaluation.gray_box`).
- adaptive and black box: the attacker aims at the row's whole pipeline (`srdfast.evaluation.adaptive`). A row
  without a purifier has its network attacked directly.
- worst: an image counts only if the row is right on it in every column; corruptions and sanity checks left
  out.

Attacked images stay in floating point; nothing rounds them to 8 bits between attack and defence. Every
outcome of one row, column and batch is on the disk before the next is measured
(`srdfast.evaluation.outcomes`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from .data import Dataset, balanced_rows
from .defences import SRDFAST, Row
from .evaluation.batches import batches
from .evaluation.gray_box import GRAY_BOX
from .evaluation.measuring import Run
from .evaluation.outcomes import FILE, Outcomes
from .evaluation.settings import Settings
from .pictures import View, draw, perturbation
from .report import Report

__all__ = ["Settings", "evaluate", "page", "save"]


def evaluate(
    classifier: nn.Module,
    rows: Sequence[Row],
    dataset: Dataset,
    settings: Settings | None = None,
    *,
    device: str | torch.device = "cpu",
    progress: bool | None = None,
    out: str | os.PathLike[str] | None = None,
) -> Report:
    """Measure every row clean, under the gray-box attacks, and under the adaptive ones.

    Args:
        classifier: the protected network: images [batch, 3, height, width] in [0, 1] -> logits.
        rows: the defences, names distinct.
        dataset: the images; none of them may have been trained on.
        settings: the attacks; `Settings()` by default.
        device: where the networks and the images go.
        progress: a bar on stderr; by default only on a terminal.
        out: a folder in which outcomes are kept as they are found; what is there already is not measured
            again.

    Returns:
        Report with one cell for every row and column that could be computed.
    """
    settings = settings or Settings()
    if len({row.name for row in rows}) < len(rows):
        raise ValueError(f"rows: expected distinct names, got {[row.name for row in rows]}")
    if len(dataset) == 0:
        raise ValueError("dataset: expected at least one image, got none")
    named = (network for row in rows for network in (row.network, row.gray_box) if network is not None)
    for network in (classifier, *named):
        _check_classes(network.to(device).eval(), dataset, device)
    run = Run(classifier, rows, dataset, settings, device, Outcomes(Path(out) / FILE if out else None))
    hidden = None if progress is None else not progress
    with tqdm(total=run.cells(), desc="evaluate", unit="image", disable=hidden) as bar:
        for column, images in run.measure():
            bar.set_postfix_str(column)
            bar.update(images)
    return run.report()


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
    batch = next(batches(dataset, chosen, len(chosen), device))
    clean, labels = batch.images, batch.labels
    classifier.to(device).eval()
    attacked = GRAY_BOX["pgd"].run(classifier, clean, labels, settings, settings.seed)
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


@torch.no_grad()
def _check_classes(network: nn.Module, dataset: Dataset, device: str | torch.device) -> None:
    batch = next(batches(dataset, np.zeros(1, np.int64), 1, device))
    known = network(batch.images).shape[1]
    if known != len(dataset.classes):
        raise ValueError(
            f"dataset: expected {known} classes, as the network knows, "
            f"got {len(dataset.classes)} in {dataset.name}"
        )
