# SPDX-License-Identifier: Apache-2.0
"""What the purification of frames is worth: decisions it restores, and what it does to clean video.

``python -m srdfast.video.evaluate MODEL --classifier FILE --data DIR [--clips FILE...]``. Attacks are PGD in
the maximum norm, rounded to 8 bits afterwards, as video carries them; every defence gets the same ones.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..answers import answer
from ..attacks import pgd
from ..classifiers import load_classifier
from ..data import Dataset, balanced_rows, load
from ..purifier import PurifiedModel, Purifier
from ..rivals import Purify, jpeg
from .defence import planes_of, through_frames
from .frames import FramePurifier
from .quality import measure

STEPS, ADAPTIVE_STEPS = 10, 20  # of PGD, each a quarter of the largest change
EPSILONS = (4 / 255, 8 / 255)
JPEG_QUALITIES = (75, 50)
PICTURES = {".png", ".webp", ".jpg", ".jpeg"}

Counts = dict[str, dict[str, tuple[int, int]]]


def defences(
    purifier: FramePurifier, one_dictionary: FramePurifier | None = None
) -> dict[str, Purify | None]:
    """What is compared; None: the images go through unchanged."""
    rows: dict[str, Purify | None] = {
        "no defence": None,
        **{f"JPEG, quality {quality}": jpeg(quality) for quality in JPEG_QUALITIES},
        "4:2:0 there and back": through_frames(None),
    }
    if one_dictionary is not None:
        rows["srdfast, one dictionary"] = through_frames(one_dictionary)
    return {**rows, "srdfast": through_frames(purifier)}


def decisions(
    classifier: nn.Module,
    dataset: Dataset,
    rows: Mapping[str, Purify | None],
    epsilons: tuple[float, ...] = EPSILONS,
    batch: int = 50,
    seed: int = 0,
) -> Counts:
    """How many images the classifier labels rightly behind every defence.

    Args:
        classifier: images [batch, 3, height, width] in [0, 1] to logits; it alone is attacked (gray-box).
        dataset: the images.
        rows: defences by name.
        epsilons: largest change of a pixel, in [0, 1], one column each beside "clean".
        batch: images at a time.
        seed: of the attacks' starts.

    Returns:
        (right, all) by the name of the row and of the column.
    """
    counts: Counts = {name: {} for name in rows}
    for start in tqdm(range(0, len(dataset), batch), desc="decisions", file=sys.stderr, disable=None):
        images, labels = dataset.tensors(start, min(start + batch, len(dataset)))
        for column, attacked in _attacked(classifier, images, labels, epsilons, seed + start):
            for name, purify in rows.items():
                seen = attacked if purify is None else purify(attacked)
                _count(counts[name], column, classifier, seen, labels)
    return counts


def adaptive_decisions(
    purifier: Purifier,
    frames: FramePurifier,
    classifier: nn.Module,
    dataset: Dataset,
    epsilon: float,
    seed: int = 0,
) -> dict[str, tuple[int, int]]:
    """The same where PGD is aimed at purifier and classifier together, with two gradients of the former.

    "bpda" takes its gradient for the identity, "exact" computes it (for the clusters chosen at each step).
    """
    counts: dict[str, tuple[int, int]] = {}
    purify, mode = through_frames(frames), purifier.grad_mode
    for column in ("bpda", "exact"):
        purifier.grad_mode = column
        for start in range(0, len(dataset), 25):
            images, labels = dataset.tensors(start, min(start + 25, len(dataset)))
            model = PurifiedModel(purifier, classifier)
            found = pgd(
                model,
                images,
                labels,
                epsilon=epsilon,
                step=epsilon / 4,
                steps=ADAPTIVE_STEPS,
                seed=seed + start,
            )
            _count(counts, column, classifier, purify(rounded(found)), labels)
    purifier.grad_mode = mode
    return counts


def clip_quality(purifier: FramePurifier, path: Path, frames: int) -> dict[str, dict[str, Any]]:
    """What purifying does to the luma of the first frames of a clean clip, or of a picture; beside JPEG.

    Of srdfast also how often the cluster changed, and which share of the blocks was reused.
    """
    clusters, reused = [], []

    def by_srdfast(planes: tuple[np.ndarray, ...]) -> np.ndarray:
        purified = purifier.purify(planes)[0]
        clusters.append(purifier.last.cluster)
        reused.append(purifier.last.reused)
        return purified

    def quality(purify: Callable[[tuple[np.ndarray, ...]], np.ndarray]) -> dict[str, Any]:
        return asdict(measure((planes[0], purify(planes)) for planes in islice(frames_of(path), frames)))

    purifier.reset()
    found = {"srdfast": quality(by_srdfast)}
    found["srdfast"]["cluster_changes"] = sum(a != b for a, b in pairwise(clusters))
    found["srdfast"]["reused"] = float(np.mean(reused))
    for strength in JPEG_QUALITIES:
        found[f"JPEG, quality {strength}"] = quality(partial(_luma_through_jpeg, strength))
    return found


def table(counts: Counts) -> str:
    """Percent classified rightly, as Markdown."""
    columns = list(next(iter(counts.values())))
    lines = [f"| defence | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    for name, row in counts.items():
        cells = (f"{100 * right / total:.1f}" for right, total in (row[column] for column in columns))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m srdfast.video.evaluate", description=__doc__)
    parser.add_argument("model", help="purifier of one-channel dictionaries")
    parser.add_argument("--classifier", type=Path, required=True, help="network to protect")
    parser.add_argument("--data", type=Path, required=True, help="data set; its test images are used")
    parser.add_argument("--size", type=int, default=224, help="side of the images (default: %(default)s)")
    parser.add_argument("--images", type=int, default=1000, help="test images (default: %(default)s)")
    parser.add_argument("--adaptive", type=int, default=100, help="of them attacked adaptively (%(default)s)")
    parser.add_argument("--one-dictionary", help="purifier with a single dictionary, to compare with")
    parser.add_argument(
        "--clips", type=Path, nargs="*", default=[], help="clean videos (by PyAV) and pictures"
    )
    parser.add_argument(
        "--frames", type=int, default=100, help="most frames of a clip (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    purifier = Purifier.from_pretrained(options.model)
    frames = FramePurifier(purifier)
    one = FramePurifier(options.one_dictionary) if options.one_dictionary else None
    classifier = load_classifier(options.classifier)
    report: dict[str, Any] = {"clips": {}}
    for path in options.clips:
        report["clips"][path.name] = clip_quality(frames, path, options.frames)
        print(path.name, json.dumps(report["clips"][path.name]), file=sys.stderr, flush=True)
    dataset = load(options.data, "test", options.images, options.size)
    counts = decisions(classifier, dataset, defences(frames, one))
    print(table(counts), file=sys.stderr, flush=True)
    report["decisions"] = counts
    if options.adaptive:
        rows = balanced_rows(dataset.labels, options.adaptive)
        some = Dataset(dataset.images[rows], dataset.labels[rows], dataset.classes, dataset.name)
        report["adaptive"] = adaptive_decisions(purifier, frames, classifier, some, EPSILONS[-1])
    print(json.dumps(report, indent=2))
    return 0


def _attacked(
    classifier: nn.Module, images: Tensor, labels: Tensor, epsilons: tuple[float, ...], seed: int
) -> Iterator[tuple[str, Tensor]]:
    yield "clean", images
    for epsilon in epsilons:
        found = pgd(classifier, images, labels, epsilon=epsilon, step=epsilon / 4, steps=STEPS, seed=seed)
        yield f"PGD {255 * epsilon:.0f}/255", rounded(found)


def rounded(images: Tensor) -> Tensor:
    """Images in [0, 1] as 8 bits hold them."""
    return (images * 255).round() / 255


@torch.no_grad()
def _count(
    counts: dict[str, tuple[int, int]], column: str, classifier: nn.Module, images: Tensor, labels: Tensor
) -> None:
    right, total = counts.get(column, (0, 0))
    counts[column] = right + int((classifier(images).argmax(1) == labels).sum()), total + len(labels)


def _luma_through_jpeg(quality: int, planes: tuple[np.ndarray, ...]) -> np.ndarray:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(planes[0]).save(file, format="JPEG", quality=quality)
    return np.asarray(Image.open(file))


def frames_of(path: Path) -> Iterator[tuple[np.ndarray, ...]]:
    """Planes of a video's frames, or of a picture as one frame, in limited range."""
    if path.suffix.lower() in PICTURES:
        from PIL import Image

        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"), np.float32).transpose(2, 0, 1) / 255
        yield planes_of(torch.from_numpy(pixels))
        return
    import av

    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            codes = frame.to_ndarray(format="yuv420p").reshape(-1)  # sides are even
            height, width, luma = frame.height, frame.width, frame.height * frame.width
            chroma = codes[luma:].reshape(2, height // 2, width // 2)
            yield codes[:luma].reshape(height, width), chroma[0], chroma[1]


if __name__ == "__main__":
    sys.exit(answer(main))
