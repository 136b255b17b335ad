# SPDX-License-Identifier: Apache-2.0
"""Crops of photographs and video frames: pictures without labels that dictionaries learn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from .data import PICTURES
from .errors import DataError


def draw_crops(sources: Sequence[Path], count: int, size: int, seed: int = 0) -> np.ndarray:
    """Square crops at random places, every file's share of `count` as large as any other's, or one less.

    Pixels are taken as they are, so that texture keeps its scale; a picture smaller than a crop is enlarged
    until its shorter side fills one. The frames of a video lie evenly apart.

    Args:
        sources: photographs, videos, and folders of them (not their subfolders).
        count: crops in all, at least as many as there are files.
        size: side of a crop in pixels.
        seed: of the places.

    Returns:
        uint8 [count, 3, size, size], RGB, file after file in the order of their names.

    Raises:
        FileNotFoundError: a source does not exist.
        DataError: a folder is empty, a file cannot be read, or there are more files than crops.
    """
    files = [file for source in sources for file in _files(source)]
    if len(files) > count:
        raise DataError(f"pictures: expected at least {len(files)} crops, one of each file, got {count}")
    bounds = np.linspace(0, count, len(files) + 1).round().astype(int)
    crops = np.empty((count, 3, size, size), np.uint8)
    for number, (file, (first, last)) in enumerate(zip(files, pairwise(bounds), strict=True)):
        places = np.random.default_rng((seed, number))
        for row, picture in zip(range(first, last), _pictures(file, last - first), strict=True):
            crops[row] = _crop(picture, size, places)
    return crops


def _files(source: Path) -> list[Path]:
    if not source.exists():
        raise FileNotFoundError(f"pictures: no file or folder at {source}")
    if not source.is_dir():
        return [source]
    found = sorted(file for file in source.iterdir() if file.is_file() and not file.name.startswith("."))
    if not found:
        raise DataError(f"pictures: no file in {source}")
    return found


def _pictures(file: Path, count: int) -> Iterator[np.ndarray]:
    """`count` times a photograph, or as many frames of a video: uint8 [height, width, 3]."""
    if file.suffix.lower() in PICTURES:
        try:
            with Image.open(file) as opened:
                picture = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{file}: cannot be read as a picture ({error})") from None
        for _ in range(count):
            yield picture
    else:
        yield from _frames(file, count)


def _frames(file: Path, count: int) -> Iterator[np.ndarray]:
    """`count` frames of a video, the first, the last and others evenly between; of a short one some again."""
    import av

    try:
        with av.open(str(file)) as container:  # packets, since not every container knows its frames
            total = sum(packet.size > 0 for packet in container.demux(container.streams.video[0]))
        wanted = np.linspace(0, total - 1, count).round().astype(int).tolist()
        with av.open(str(file)) as container:
            for number, frame in enumerate(container.decode(container.streams.video[0])):
                while wanted and wanted[0] == number:
                    wanted.pop(0)
                    yield frame.to_ndarray(format="rgb24")
    except (av.error.FFmpegError, IndexError) as error:
        raise DataError(f"{file}: cannot be read as a video ({error})") from None
    if wanted:
        raise DataError(f"{file}: holds fewer frames than packets of them; it is damaged")


def _crop(picture: np.ndarray, size: int, places: np.random.Generator) -> np.ndarray:
    """A crop uint8 [3, size, size] of a picture [height, width, 3], at a random place."""
    if min(picture.shape[:2]) < size:
        larger = Image.fromarray(picture)
        scale = size / min(larger.size)
        larger = larger.resize(
            [max(size, round(side * scale)) for side in larger.size], Image.Resampling.BICUBIC
        )
        picture = np.asarray(larger)
    top, left = (int(places.integers(side - size + 1)) for side in picture.shape[:2])
    return picture[top : top + size, left : left + size].transpose(2, 0, 1)
