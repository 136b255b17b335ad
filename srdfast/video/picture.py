# SPDX-License-Identifier: Apache-2.0
"""A picture of frames, attacked and purified, with what a classifier sees in each.

``python -m srdfast.video.picture CLIP OUT.png --classifier FILE [--model MODEL]``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from ..answers import answer
from ..attacks import pgd
from ..classifiers import load_classifier
from ..pictures import View, draw, perturbation
from .defence import image_of, through_frames
from .evaluate import STEPS, frames_of, rounded
from .frames import FramePurifier


def crops(path: Path, numbers: list[int], size: int) -> Tensor:
    """The middle squares of some frames of a clip, float [frames, 3, size, size] in [0, 1]."""
    wanted, found = set(numbers), []
    for number, planes in enumerate(frames_of(path)):
        if number in wanted:
            image = image_of(planes, torch.Size(planes[0].shape))[None]
            side = min(image.shape[2:])
            top, left = ((length - side) // 2 for length in image.shape[2:])
            square = image[:, :, top : top + side, left : left + side]
            found.append(functional.interpolate(square, (size, size), mode="bilinear", antialias=True))
        if number >= max(wanted):
            break
    return torch.cat(found)


def main(arguments: list[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m srdfast.video.picture", description=__doc__)
    parser.add_argument("clip", type=Path, help="a video or a picture")
    parser.add_argument("out", type=Path, help="the PNG to write")
    parser.add_argument("--classifier", type=Path, required=True, help="network to attack")
    parser.add_argument("--model", default="natural", help="purifier (default: %(default)s)")
    parser.add_argument("--frames", type=int, nargs="+", default=[0], help="which ones (default: the first)")
    parser.add_argument("--size", type=int, default=224, help="side of the crops (default: %(default)s)")
    parser.add_argument("--epsilon", type=float, default=8, help="of 255, of PGD (default: %(default)s)")
    options = parser.parse_args(arguments)
    classifier, bound = load_classifier(options.classifier), options.epsilon / 255
    clean = rounded(crops(options.clip, options.frames, options.size))
    with torch.no_grad():
        seen = classifier(clean).argmax(1)
    attacked = rounded(pgd(classifier, clean, seen, epsilon=bound, step=bound / 4, steps=STEPS, seed=0))
    purifier = FramePurifier(options.model)
    purify = through_frames(purifier)
    rows = {"clean": clean, "attacked": attacked, "purified": purify(attacked)}
    with torch.no_grad():
        views = [View(name, row.numpy(), classifier(row).argmax(1).numpy()) for name, row in rows.items()]
    views.insert(2, View("attack x 10", perturbation(clean.numpy(), attacked.numpy())))
    draw(
        options.out,
        views,
        seen.numpy(),
        purifier.bank.classes,
        "Frames of a video under attack",
        f"PGD of {STEPS} steps and {options.epsilon:g}/255 on the classifier; below, what it sees",
        side=1.4,
    )
    return 0


if __name__ == "__main__":
    sys.exit(answer(main))
