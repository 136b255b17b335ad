# SPDX-License-Identifier: Apache-2.0
"""What ships inside the package: purifiers, the classifiers that they protect, and 500 CIFAR-10 test images.

========================================  ==========================================================
`cifar10.safetensors`                     the purifier (`srdfast.Purifier.from_pretrained("cifar10")`)
`imagenet10.safetensors`                  one for ten classes of ImageNet, 224 x 224 pixels
`natural.safetensors`                     the purifier of video (`srdfast.video.FramePurifier("natural")`)
`*-classifier.safetensors`                the protected classifiers (`srdfast.networks.load_network`)
`*-global.safetensors`                    rivals: one dictionary for all images
`*-denoiser.safetensors`                  rivals: a denoiser (`srdfast.rival_networks.load_denoiser`)
`cifar10-sample.webp`, `.json`            500 test images, 50 a class, as one lossless sheet; labels
========================================  ==========================================================

`README.md` in this folder is the model card.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from ..files import atomic_write

if TYPE_CHECKING:
    from ..data import Dataset

FOLDER = Path(__file__).parent
SHEET_COLUMNS = 25


def path(name: str) -> Path:
    """The file of a shipped model, such as `"cifar10"` (the purifier) or `"cifar10-classifier"`.

    Raises:
        FileNotFoundError: no model of that name ships; the message lists those that do.
    """
    file = FOLDER / f"{name}.safetensors"
    if not file.is_file():
        known = ", ".join(sorted(other.stem for other in FOLDER.glob("*.safetensors"))) or "none"
        raise FileNotFoundError(f"no pretrained model is called {name!r}; those that ship: {known}")
    return file


def file_of(name_or_path: str | os.PathLike[str]) -> Path:
    """A file of one's own, or that of a shipped model: what has a folder or a suffix or is there is a path.

    Raises:
        FileNotFoundError: neither; the message lists the models that ship.
    """
    own = Path(name_or_path)
    return own if len(own.parts) > 1 or own.suffix or own.is_file() else path(str(name_or_path))


def sample(count: int | None = None) -> Dataset:
    """The shipped CIFAR-10 test images, classes in turn, so that every prefix is balanced.

    Args:
        count: how many images, 1 to 500; all of them by default.

    Returns:
        Dataset with images uint8 [count, 3, 32, 32] and labels int64 [count].

    Raises:
        DataError: `count` is out of range, or the sample's files are missing or disagree.
    """
    from PIL import Image

    from ..data import Dataset

    try:
        record = json.loads((FOLDER / "cifar10-sample.json").read_text())
        with Image.open(FOLDER / "cifar10-sample.webp") as picture:
            sheet = np.asarray(picture.convert("RGB"))  # [rows * 32, columns * 32, 3]
    except OSError as error:
        raise DataError(f"the sample images that ship with srdfast cannot be read: {error}") from error
    labels = np.asarray(record["labels"], dtype=np.int64)
    count = len(labels) if count is None else count
    if not 1 <= count <= len(labels):
        raise DataError(f"the sample holds {len(labels)} images; expected 1 to {len(labels)}, got {count}")
    images = _cut(sheet)[:count]
    return Dataset(
        images=images, labels=labels[:count], classes=tuple(record["classes"]), name="CIFAR-10 test sample"
    )


def draw_sample(
    dataset: Dataset, per_class: int, skip: Container[int] = (), folder: Path = FOLDER
) -> np.ndarray:
    """Write `cifar10-sample.webp` and `.json`: the first `per_class` images of every class.

    The classes take turns (first image of class 0, of class 1, ..., second image of class 0, ...), so
    that every prefix of the sample is balanced. The sheet is lossless and read from left to right.

    Args:
        dataset: images of 32 x 32, at least `per_class` of every class; per_class * classes a
            multiple of 25.
        per_class: how many images of every class.
        skip: positions in `dataset` to pass over.
        folder: where the two files go.

    Returns:
        The positions taken, int64 [per_class * classes].
    """
    from PIL import Image

    taken = [
        [i for i in np.flatnonzero(dataset.labels == label).tolist() if i not in skip][:per_class]
        for label in range(len(dataset.classes))
    ]
    if any(len(positions) < per_class for positions in taken):
        raise DataError(f"per_class: a class of {dataset.name} holds fewer than {per_class} usable images")
    positions = np.asarray(taken).T.reshape(-1)  # [per_class * classes], the classes in turn
    images = dataset.images[positions].reshape(-1, SHEET_COLUMNS, *dataset.images.shape[1:])
    rows, columns, channels, height, width = images.shape
    sheet = images.transpose(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels)
    record = {
        "source": f"{dataset.name}: the first {per_class} images of every class, classes in turn",
        "classes": list(dataset.classes),
        "labels": dataset.labels[positions].tolist(),
        "positions": positions.tolist(),
    }
    with atomic_write(folder / "cifar10-sample.webp") as file:
        Image.fromarray(sheet).save(file, format="WEBP", lossless=True, quality=100, method=6)
    with atomic_write(folder / "cifar10-sample.json") as file:
        file.write_text(json.dumps(record, separators=(",", ":")) + "\n")
    return positions


def pack(run: Path | str, folder: Path | str, name: str = "cifar10") -> None:
    """Write the models of a training run as srdfast ships them: atoms and filters in half precision.

    `{name}.safetensors` is the purifier and `{name}-classifier.safetensors` what it protects. Where the run
    trained a denoiser, that goes beside them with the purifier of one dictionary, so that
    `srdfast evaluate {name}` has all rows: `{name}-denoiser.safetensors` and `{name}-global.safetensors`.

    Args:
        run: folder of a finished `srdfast train`.
        folder: where the files go; made if absent.
        name: what the models are called.
    """
    from ..classifiers import load_classifier, save_classifier, saved_classifier
    from ..purifier import Purifier

    refined, folder = Path(run) / "7_refine", Path(folder)
    Purifier.load(refined / "purifier.safetensors").save(folder / f"{name}.safetensors", dtype="float16")
    classifier = load_classifier(saved_classifier(refined / "classifier"))
    save_classifier(folder / f"{name}-classifier", classifier, dtype="float16")
    if (refined / "denoiser.safetensors").is_file():
        single = Purifier.load(refined / "global.safetensors")
        single.save(folder / f"{name}-global.safetensors", dtype="float16")
        with atomic_write(folder / f"{name}-denoiser.safetensors") as file:
            shutil.copyfile(refined / "denoiser.safetensors", file)


def _cut(sheet: np.ndarray, size: int = 32) -> np.ndarray:
    """[rows * size, columns * size, 3] -> [rows * columns, 3, size, size]."""
    rows, columns = sheet.shape[0] // size, sheet.shape[1] // size
    images = sheet.reshape(rows, size, columns, size, 3).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(images.reshape(rows * columns, 3, size, size))
