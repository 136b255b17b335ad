# SPDX-License-Identifier: Apache-2.0
"""The demonstration: attack the shipped images live, purify them, and show what it did."""

from __future__ import annotations

from pathlib import Path

import torch

from . import pretrained
from .data import Dataset
from .defences import SRDFAST, Row, image_row, purifier_row
from .evaluate import Settings, evaluate, save
from .networks import load_network
from .purifier import Purifier
from .report import Report
from .rivals import jpeg, low_band

ADAPTIVE_SHARE = 5  # one image in so many is attacked adaptively


def demo(
    out: Path, images: int = 250, device: str | torch.device = "cpu", progress: bool | None = None
) -> Report:
    """Measure the shipped purifier beside simple rivals on the shipped images; write report and pictures.

    Args:
        out: folder for `report.json`, `report.md` and `pictures.png`.
        images: how many of the 500 shipped CIFAR-10 test images.
        device: where to compute.
        progress: a bar on stderr; by default only on a terminal.
    """
    sample: Dataset = pretrained.sample(images)
    purifier = Purifier.from_pretrained("cifar10").to(device).eval()
    classifier = load_network(pretrained.path("cifar10-classifier"))
    rows = [
        Row("no defence"),
        image_row("JPEG, quality 75", jpeg(75)),
        image_row("low band only", low_band(purifier.bank.split_strength)),
        purifier_row(SRDFAST, purifier),
        Row("encoder alone", network=purifier.encoder),
    ]
    settings = Settings(adaptive_images=max(10, images // ADAPTIVE_SHARE), adaptive_steps=10)
    report = evaluate(classifier, rows, sample, settings, device=device, progress=progress)
    save(out, report, classifier, rows, sample, settings, device)
    return report
