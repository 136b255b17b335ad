# SPDX-License-Identifier: Apache-2.0
"""A page that shows a defence at work: clean, attacked, what the attack added, purified."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .files import atomic_write

RIGHT, WRONG, INK, FAINT = "#1a7f37", "#cf222e", "#24292f", "#57606a"


@dataclass(frozen=True)
class View:
    """One line of the page.

    Attributes:
        name: stands at the left of the line.
        images: float [images, 3, height, width] in [0, 1].
        predictions: the class the network sees in each, int [images]; None: it sees none.
    """

    name: str
    images: np.ndarray
    predictions: np.ndarray | None = None


def perturbation(clean: np.ndarray, attacked: np.ndarray, gain: float = 10.0) -> np.ndarray:
    """The difference of two image arrays, enlarged `gain` times around mid-grey (no change), in [0, 1]."""
    return np.clip(0.5 + gain * (attacked - clean), 0, 1)


def draw(
    path: str | os.PathLike[str],
    views: Sequence[View],
    labels: np.ndarray,
    classes: Sequence[str],
    title: str,
    subtitle: str = "",
    side: float = 1.0,
) -> None:
    """Write the page as PNG: a line a view, a column an image, the predicted class under each picture.

    A prediction is green where it is the true class and red where it is not. Pixels stay square and
    sharp (nearest neighbour).

    Args:
        path: the file, written atomically.
        views: the lines, from top to bottom, all of the same images.
        labels: true classes, int [images].
        classes: class names.
        title: what is seen.
        subtitle: the circumstances, in smaller type.
        side: of a picture, in inches of 160 pixels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = len(labels)
    gap, margin, top = 0.06, 1.25, 0.72  # inches
    captions = [0.1 if view.predictions is None else 0.24 for view in views]
    width = margin + columns * (side + gap) + 0.06
    height = top + len(views) * side + sum(captions)
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)

    def text(x: float, y: float, words: str, **style: Any) -> None:  # in inches from the lower left
        figure.text(x / width, y / height, words, **style)

    text(0.12, height - 0.15, title, size=14, weight="bold", color=INK, va="top")
    text(0.12, height - 0.43, subtitle, size=9, color=FAINT, va="top")
    base = height - top  # upper edge of the next line
    for view, caption in zip(views, captions, strict=True):
        base -= side
        text(margin - 0.12, base + side / 2, view.name, size=11, color=INK, ha="right", va="center")
        for column in range(columns):
            left = margin + column * (side + gap)
            axes = figure.add_axes((left / width, base / height, side / width, side / height))
            axes.imshow(view.images[column].transpose(1, 2, 0), interpolation="nearest", vmin=0, vmax=1)
            axes.set_axis_off()
            if view.predictions is not None:
                seen, truth = int(view.predictions[column]), int(labels[column])
                style = {"color": RIGHT} if seen == truth else {"color": WRONG, "weight": "bold"}
                text(left + side / 2, base - 0.04, classes[seen], size=9, ha="center", va="top", **style)
        base -= caption
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=160)
