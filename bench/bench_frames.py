# SPDX-License-Identifier: Apache-2.0
"""Whole frames of 8-bit 4:2:0 video, one after another; the purification alone, without a choice of clusters.

In "all moves" no block is as it was; in "static camera" a square of an eighth of the height moves.
"""

from itertools import cycle

import numpy as np
import pytest

from srdfast import LISTA, Gaussians, SRDBank
from srdfast.video.frames import FramePurifier

ATOMS, STRIDE = 64, 4


def planes_of(image):
    """Codes of luma and halved chroma of an image [3, height, width] in [0, 1]."""
    luma, blue, red = (16 + 219 * plane for plane in image)
    return tuple(np.rint(plane).astype(np.uint8) for plane in (luma, blue[::2, ::2], red[::2, ::2]))


def moved(planes, number):
    """The planes with a square somewhere else."""
    luma = planes[0].copy()
    side = luma.shape[0] // 8
    luma[3 * side : 4 * side, number * side // 4 :][:, :side] = 128
    return luma, *planes[1:]


@pytest.mark.parametrize("scene", ["all moves", "static camera"])
@pytest.mark.parametrize("reuse", [True, False], ids=["reuse", "no reuse"])
@pytest.mark.parametrize("size", [(1080, 1920), (720, 1280)], ids=["1080p", "720p"])
def bench_frames(timed, learned, crops, quick, scene, reuse, size):
    height, width = (128, 192) if quick else size
    synthesis, analysis, thresholds = (array[None] for array in learned(64, ATOMS))
    one = Gaussians(*(np.ones((1, 1), np.float32),) * 2, np.zeros(1, np.float32), np.zeros(1, np.int64))
    bank = SRDBank(one, synthesis, LISTA(1), ("any",), analysis, thresholds, channels=1, stride=STRIDE)
    first, second = (planes_of(image) for image in crops(2, 3, height, width))
    frames = [first, second] if scene == "all moves" else [moved(first, number) for number in range(16)]
    purifier, anew = FramePurifier(bank, reuse=reuse), FramePurifier(bank, reuse=False)
    for planes in frames:
        for mine, wanted in zip(purifier.purify(planes), anew.purify(planes), strict=True):
            np.testing.assert_array_equal(mine, wanted)
    coming = cycle(frames)
    timed(
        lambda: purifier.purify(next(coming)), "frames", f"{width}x{height} 4:2:0, {scene}",
        "srdfast" if reuse else "srdfast, no reuse", 1, "frames",
        notes=f"{100 * purifier.last.reused:.0f}% of blocks reused",
    )  # fmt: skip
