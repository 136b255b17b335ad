# SPDX-License-Identifier: Apache-2.0
"""Dataset readers: one function, `load`, that finds out which format a folder holds."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from .errors import DataError

SHEET_COLUMNS, SHEET_ROWS = 50, 40


@dataclass(frozen=True)
class Dataset:
    """Labelled images in memory.

    Attributes:
        images: uint8 [images, channels, height, width].
        labels: int64 [images], each an index into `classes`.
        classes: class names.
        name: format and split, for reports.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    name: str

    def __len__(self) -> int:
        return len(self.images)

    def tensors(self, start: int = 0, stop: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Images start:stop as float32 in [0, 1] [images, channels, height, width], and their labels."""
        images = torch.from_numpy(self.images[start:stop]).float().div_(255)
        return images, torch.from_numpy(self.labels[start:stop].copy())

    @cached_property
    def identity(self) -> str:
        """Hexadecimal SHA-256 of shape, pixels, labels and class names: equal data, equal identity."""
        digest = sha256(repr((self.images.shape, self.classes)).encode())
        digest.update(np.ascontiguousarray(self.images))
        digest.update(np.ascontiguousarray(self.labels))
        return digest.hexdigest()


def balanced_rows(labels: np.ndarray, limit: int | None) -> np.ndarray:
    """Positions of at most `limit` samples, the first few of every class, in ascending order."""
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    rank = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rank[rows] = np.arange(len(rows))
    return np.sort(np.argsort(rank, kind="stable")[:limit])


def _load_sheets(path: Path, split: str, limit: int | None, size: int | None) -> Dataset:
    """Lossless sheets of 50 x 40 images, row by row: `train_00.webp` ..., `train_labels.npy`, `classes.json`."""
    import json

    labels = np.load(path / f"{split}_labels.npy", allow_pickle=False).astype(np.int64)
    rows = balanced_rows(labels, limit)
    per_sheet = SHEET_COLUMNS * SHEET_ROWS
    images = []
    for number in np.unique(rows // per_sheet):
        with Image.open(path / f"{split}_{number:02d}.webp") as picture:
            sheet = np.asarray(picture.convert("RGB"))  # [rows*height, columns*width, 3]
        height, width = sheet.shape[0] // SHEET_ROWS, sheet.shape[1] // SHEET_COLUMNS
        tiles = sheet.reshape(SHEET_ROWS, height, SHEET_COLUMNS, width, 3).transpose(0, 2, 4, 1, 3)
        inside = rows[rows // per_sheet == number] % per_sheet
        images.append(tiles.reshape(per_sheet, 3, height, width)[inside])
    classes = tuple(json.loads((path / "classes.json").read_text(encoding="utf-8")))
    return Dataset(np.concatenate(images), labels[rows], classes, f"sheets/{split}")


Reader = Callable[[Path, str, int | None, int | None], Dataset]
FORMATS: tuple[tuple[Callable[[Path, str], bool], Reader], ...] = (
    (lambda path, split: (path / f"{split}_labels.npy").is_file(), _load_sheets),
)


def load(path: Path | str, split: str = "train", limit: int | None = None, size: int | None = None) -> Dataset:
    """Read a dataset, finding its format from what the folder holds."""
    path = Path(path)
    for matches, reader in FORMATS:
        if matches(path, split):
            return reader(path, split, limit, size)
    raise DataError(f"{path}: no known dataset format")
