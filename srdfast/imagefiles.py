# SPDX-License-Identifier: Apache-2.0
"""Purifying image files: what `srdfast purify` does."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageOps
from tqdm import tqdm

from .errors import DataError
from .files import atomic_write

if TYPE_CHECKING:
    from .purifier import Purifier

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
BATCH_PIXELS = 1 << 20


@dataclass(frozen=True)
class Picture:
    """An image as read: pixels uint8 [3, height, width], and its transparency if it has one."""

    source: Path
    target: Path
    pixels: np.ndarray
    alpha: Image.Image | None


def plan(
    sources: Sequence[Path], out: Path, keep_format: bool = False, overwrite: bool = False
) -> dict[Path, Path]:
    """Which file becomes which: folders are expanded with their subfolders, names are kept.

    Args:
        sources: image files, and folders of them.
        out: the folder to write to.
        keep_format: keep each file's ending; otherwise every result is a PNG, which loses nothing.
        overwrite: allow results that exist.

    Returns:
        Target of each source.

    Raises:
        FileNotFoundError: a source does not exist.
        DataError: there is no image, a result exists already, or two sources have the same result.
    """
    targets: dict[Path, Path] = {}
    for source in sources:
        if not source.exists():
            raise FileNotFoundError(f"{source}: no such file or folder")
        if source.is_dir():
            files = {file: file.relative_to(source) for file in _images_in(source)}
        else:
            files = {source: Path(source.name)}
        for file, name in files.items():
            targets[file] = out / (name if keep_format else name.with_suffix(".png"))
    if not targets:
        raise DataError(f"no image found in {', '.join(map(str, sources))}")
    taken: dict[Path, Path] = {}
    for file, target in targets.items():
        if target in taken:
            raise DataError(f"{taken[target]} and {file} would both become {target}; purify them apart")
        taken[target] = file
        if target.exists() and not overwrite:
            raise DataError(f"{target} exists; choose another folder with --out, or allow it with -y")
    return targets


def purify_files(
    purifier: Purifier, targets: dict[Path, Path], device: str = "cpu", progress: bool | None = None
) -> Iterator[tuple[Path, str | None]]:
    """Purify files as `plan` says, going on after one that fails.

    Args:
        purifier: the model, on `device`.
        targets: target of each source.
        device: where the purifier is.
        progress: a bar on stderr; by default only on a terminal.

    Yields:
        (target, None) for each file written, (source, reason) for each that could not be.
    """
    problems: list[tuple[Path, str]] = []

    def readable() -> Iterator[Picture]:
        hidden = None if progress is None else not progress
        for source, target in tqdm(
            targets.items(), desc="purify", unit="file", file=sys.stderr, disable=hidden
        ):
            try:
                yield read(source, target)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                problems.append((source, f"cannot be read as an image ({error})"))

    for batch in _batches(readable()):
        yield from _purify_batch(purifier, batch, device)
    yield from problems


def read(source: Path, target: Path) -> Picture:
    """Read an image upright, as 8-bit RGB and, if it has one, its transparency."""
    with Image.open(source) as file:
        image = ImageOps.exif_transpose(file)
        if image.mode not in MODES:
            raise DataError(f"pixels of mode {image.mode}; expected 8 bits a channel")
        transparent = "A" in image.mode or "transparency" in image.info
        alpha = image.convert("RGBA").getchannel("A") if transparent else None
        pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)  # [3, height, width]
    return Picture(source, target, np.ascontiguousarray(pixels), alpha)


def write(picture: Picture, pixels: np.ndarray) -> None:
    """Write purified pixels, uint8 [3, height, width], to the picture's target, as its ending says."""
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    if picture.alpha is not None:
        image.putalpha(picture.alpha)
    best: dict[str, Any] = {".jpg": {"quality": 95}, ".jpeg": {"quality": 95}, ".webp": {"lossless": True}}
    with atomic_write(picture.target) as file:
        image.save(file, **best.get(picture.target.suffix.lower(), {}))


def _purify_batch(purifier: Purifier, batch: list[Picture], device: str) -> Iterator[tuple[Path, str | None]]:
    images = torch.from_numpy(np.stack([picture.pixels for picture in batch])).to(device)
    try:
        with torch.no_grad():
            purified = purifier(images).cpu().numpy()  # uint8 [batch, 3, height, width]
    except ValueError as error:
        for picture in batch:
            yield picture.source, str(error)
        return
    for picture, pixels in zip(batch, purified, strict=True):
        try:
            write(picture, pixels)
            yield picture.target, None
        except (OSError, ValueError, KeyError) as error:
            yield picture.source, f"cannot be written ({error})"


def _batches(pictures: Iterable[Picture]) -> Iterator[list[Picture]]:
    """Neighbours of one size together, at most `BATCH_PIXELS` pixels of them."""
    batch: list[Picture] = []
    for picture in pictures:
        room = (len(batch) + 1) * picture.pixels[0].size <= BATCH_PIXELS
        if batch and not (room and picture.pixels.shape == batch[0].pixels.shape):
            yield batch
            batch = []
        batch.append(picture)
    if batch:
        yield batch


def _images_in(folder: Path) -> list[Path]:
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return sorted(file for file in folder.rglob("*") if file.is_file() and file.suffix.lower() in endings)
