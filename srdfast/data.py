# SPDX-License-Identifier: Apache-2.0
"""Dataset readers: one function, `load`, that finds out which format a folder holds."""

import io
import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps

from .errors import DataError

SHEET_COLUMNS, SHEET_ROWS = 50, 40
CIFAR_SHAPE = (3, 32, 32)
PICTURES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


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
    def moments(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel, of pixels in [0, 1]."""
        channels = [self.images[:, channel] for channel in range(self.images.shape[1])]
        return [float(each.mean()) / 255 for each in channels], [float(each.std()) / 255 for each in channels]

    @cached_property
    def identity(self) -> str:
        """Hexadecimal SHA-256 of shape, pixels, labels and class names: equal data, equal identity."""
        digest = sha256(repr((self.images.shape, self.classes)).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()


def load(
    path: Path | str, split: str = "train", limit: int | None = None, size: int | None = None
) -> Dataset:
    """Read a dataset, finding its format from what the folder holds.

    Known formats: lossless WebP sheets of 50 x 40 images (`train_00.webp` ..., `train_labels.npy`,
    `classes.json`); CIFAR-10 as its authors publish it, Python batches (read without running code) or binary
    batches, or the folder around either; and a tree of pictures, `train/<class>/*` beside `val/<class>/*` or
    `test/<class>/*`.

    Args:
        path: the dataset's folder.
        split: "train" or "test".
        limit: read so many images at most, the first of each class.
        size: side in pixels that the pictures of a tree are scaled and cropped to (default 224); in the other
            formats the size is the data's own.

    Raises:
        FileNotFoundError: there is no such folder.
        DataError: the folder holds no known format, or is damaged or incomplete.
    """
    path = Path(path)
    if split not in ("train", "test"):
        raise ValueError(f"split: expected 'train' or 'test', got {split!r}")
    for name, number in (("limit", limit), ("size", size)):
        if number is not None and number < 1:
            raise ValueError(f"{name}: expected a positive number, got {number}")
    if not path.is_dir():
        raise FileNotFoundError(f"data: no folder at {path}")
    for folder in (path, path / "cifar-10-batches-py", path / "cifar-10-batches-bin"):
        for kind, (matches, reader) in FORMATS.items():
            if matches(folder):
                dataset = _read(kind, reader, Request(folder, split, limit, size))
                if size not in (None, *dataset.images.shape[2:]):
                    raise DataError(
                        f"size: {folder} holds images of {dataset.images.shape[2:]}, not {size} pixels"
                    )
                return dataset
    raise DataError(
        f"{path}: no known dataset; expected WebP sheets (train_labels.npy ...), CIFAR-10 batches "
        "(data_batch_1 ... or data_batch_1.bin ...), or a tree of pictures train/<class>/ beside "
        "val/<class>/ or test/<class>/"
    )


class Request(NamedTuple):
    """What a reader is asked for; the fields are `load`'s arguments."""

    path: Path
    split: str
    limit: int | None
    size: int | None


Content = tuple[np.ndarray, np.ndarray, Sequence[str]]


def _read(kind: str, reader: Callable[[Request], Content], request: Request) -> Dataset:
    """Run a reader; whatever is wrong with its files becomes a `DataError`."""
    try:
        images, labels, classes = reader(request)
    except DataError:
        raise
    except (
        AttributeError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        EOFError,
        MemoryError,
        pickle.UnpicklingError,
        Image.DecompressionBombError,
    ) as error:
        raise DataError(f"{request.path}: damaged or incomplete {kind} ({error}); fetch it again") from error
    if len(labels) == 0:
        raise DataError(f"{request.path}: no {request.split} images")
    if not 0 <= labels.min() <= labels.max() < len(classes):
        raise DataError(
            f"{request.path}: labels reach {labels.max()}, but there are {len(classes)} class names"
        )
    return Dataset(np.ascontiguousarray(images), labels, tuple(map(str, classes)), f"{kind}, {request.split}")


def balanced_rows(labels: np.ndarray, limit: int | None) -> np.ndarray:
    """Positions of at most `limit` samples, the first few of every class, in ascending order."""
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    rank = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rank[rows] = np.arange(len(rows))
    return np.sort(np.argsort(rank, kind="stable")[:limit])


def _sheets(request: Request) -> Content:
    path, split, limit, _ = request
    labels = np.load(path / f"{split}_labels.npy", allow_pickle=False).astype(np.int64)
    rows, per_sheet = balanced_rows(labels, limit), SHEET_COLUMNS * SHEET_ROWS
    images = []
    for number in np.unique(rows // per_sheet):
        with Image.open(path / f"{split}_{number:02d}.webp") as picture:
            sheet = np.asarray(picture.convert("RGB"))  # [rows*height, columns*width, 3]
        height, width = sheet.shape[0] // SHEET_ROWS, sheet.shape[1] // SHEET_COLUMNS
        tiles = sheet.reshape(SHEET_ROWS, height, SHEET_COLUMNS, width, 3).transpose(0, 2, 4, 1, 3)
        inside = rows[rows // per_sheet == number] % per_sheet
        images.append(tiles.reshape(per_sheet, 3, height, width)[inside])
    return (
        np.concatenate(images),
        labels[rows],
        json.loads((path / "classes.json").read_text(encoding="utf-8")),
    )


def _batch_names(split: str) -> list[str]:
    return [f"data_batch_{number}" for number in range(1, 6)] if split == "train" else ["test_batch"]


class _Recorder:
    """Stands for every class that a pickled numpy array names: keeps what it is given, and does nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _latin1(text: str, encoding: str) -> bytes:
    """How protocol 2 spells bytes."""
    if encoding != "latin1":
        raise DataError(f"CIFAR-10 batch: expected bytes as latin1, got {encoding!r}")
    return text.encode("latin1")


class _ArraysOnly(pickle.Unpickler):
    """Unpickler that reads numpy arrays alone, as raw bytes: no code that the file names ever runs."""

    ALLOWED = {  # noqa: RUF012
        ("numpy.core.multiarray", "_reconstruct"): _Recorder,
        ("numpy._core.multiarray", "_reconstruct"): _Recorder,
        ("numpy", "ndarray"): _Recorder,
        ("numpy", "dtype"): _Recorder,
        ("_codecs", "encode"): _latin1,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise DataError(f"CIFAR-10 batch: the pickle names {module}.{name}; only plain arrays are read")
        return self.ALLOWED[module, name]

    @classmethod
    def read(cls, path: Path) -> dict[str, Any]:
        content = cls(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        if not isinstance(content, dict):
            raise DataError(f"{path}: expected a pickled dictionary, got {type(content).__name__}")
        return {_text(key): value for key, value in content.items()}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _python_batches(request: Request) -> Content:
    images, labels = [], []
    for name in _batch_names(request.split):
        batch = _ArraysOnly.read(request.path / name)
        if not isinstance(batch["data"], _Recorder):
            raise DataError(f"{request.path / name}: expected an array under 'data'")
        _, shape, _, column_major, raw = batch["data"].state
        pixels = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if column_major else "C")
        images.append(pixels.reshape(-1, *CIFAR_SHAPE))
        labels.append(np.array(batch["labels"], np.int64))
        if len(images[-1]) != len(labels[-1]):
            raise DataError(f"{request.path / name}: {len(images[-1])} images, but {len(labels[-1])} labels")
    names = _ArraysOnly.read(request.path / "batches.meta")["label_names"]
    every = np.concatenate(labels)
    rows = balanced_rows(every, request.limit)
    return np.concatenate(images)[rows], every[rows], [_text(name) for name in names]


def _binary_batches(request: Request) -> Content:
    """Records of one label byte and 3,072 pixel bytes."""
    raw = b"".join((request.path / f"{name}.bin").read_bytes() for name in _batch_names(request.split))
    records = np.frombuffer(raw, np.uint8).reshape(-1, 1 + int(np.prod(CIFAR_SHAPE)))
    labels = records[:, 0].astype(np.int64)
    rows = balanced_rows(labels, request.limit)
    names = (request.path / "batches.meta.txt").read_text(encoding="utf-8").split()
    return records[rows, 1:].reshape(-1, *CIFAR_SHAPE), labels[rows], names


def _tree(request: Request) -> Content:
    """Pictures in one folder a class, scaled to fill a square and cropped at its centre; all become RGB."""
    folder = request.path / request.split
    if request.split == "test" and not folder.is_dir():
        folder = request.path / "val"
    classes = sorted(entry.name for entry in (request.path / "train").iterdir() if entry.is_dir())
    files, labels = [], []
    for entry in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
        if entry.name not in classes:
            raise DataError(f"{entry}: a class that {request.path / 'train'} does not have")
        found = sorted(file for file in entry.iterdir() if file.suffix.lower() in PICTURES)
        files += found
        labels += [classes.index(entry.name)] * len(found)
    every = np.array(labels, np.int64)
    rows, side = balanced_rows(every, request.limit), request.size or 224
    images = np.empty((len(rows), 3, side, side), np.uint8)
    for position, row in enumerate(rows):
        with Image.open(files[row]) as picture:
            upright = ImageOps.exif_transpose(picture).convert("RGB")
        fitted = ImageOps.fit(upright, (side, side), Image.Resampling.BICUBIC)
        images[position] = np.asarray(fitted).transpose(2, 0, 1)
    return images, every[rows], _readable(request.path / "classes.json", classes)


def _readable(path: Path, classes: list[str]) -> list[str]:
    """Class names of the form {folder: {"name": ...}} out of `path`, where it is there; else the folders'."""
    if not path.is_file():
        return classes
    known = json.loads(path.read_text(encoding="utf-8"))
    return [str(known.get(name, {}).get("name", name)) for name in classes]


FORMATS: dict[str, tuple[Callable[[Path], bool], Callable[[Request], Content]]] = {
    "WebP sheets": (lambda path: (path / "train_labels.npy").is_file(), _sheets),
    "CIFAR-10 Python batches": (lambda path: (path / "data_batch_1").is_file(), _python_batches),
    "CIFAR-10 binary batches": (lambda path: (path / "data_batch_1.bin").is_file(), _binary_batches),
    "picture tree": (lambda path: (path / "train").is_dir(), _tree),
}
