# SPDX-License-Identifier: Apache-2.0
"""Fifty dictionaries beside one: the images of a batch choose theirs, and that must cost next to nothing."""

import numpy as np
import pytest

import srdfast
from srdfast.microbench import purify_work

MANY, MOST = 50, 1.15


@pytest.mark.parametrize("coder", [srdfast.OMP(4), srdfast.LISTA(1)], ids=["OMP(4)", "LISTA(1)"])
def bench_dictionaries(timed, learned, crops, sized, quick, coder):
    synthesis, analysis, thresholds = learned(192, 256)
    images = srdfast.split(crops(sized(4096, 60), 3, 32, 32))[1]
    rng = np.random.default_rng(0)
    index = rng.integers(0, MANY, len(images))
    turns = [rng.permutation(192) for _ in range(MANY)]  # other dictionaries, of the same kind
    parts = synthesis, analysis
    turned = [np.stack([part[:, turn] for turn in turns]) for part in parts]
    lista = isinstance(coder, srdfast.LISTA)
    one = srdfast.prepare(synthesis, *((analysis, thresholds) if lista else ()))
    many = srdfast.prepare(turned[0], *((turned[1], np.tile(thresholds, (MANY, 1))) if lista else ()))

    def rebuild():
        return srdfast.purify_patches(images, many, coder, index=index, stride=4)

    first = index == index[0]
    alone = srdfast.purify_patches(
        images[first], turned[0][index[0]], coder, *((turned[1][index[0]], thresholds) if lista else ()), stride=4
    )  # fmt: skip
    np.testing.assert_array_equal(rebuild()[first], alone)
    name = coder.__class__.__name__ + f"({coder.max_atoms if not lista else coder.steps})"
    medians = timed(
        rebuild, "many dictionaries", f"{name}, 32x32x3 over {MANY}", "srdfast", len(images), "images",
        work=purify_work((3, 32, 32), 256, coder), rounds=5,
        beside={"one": lambda: srdfast.purify_patches(images, one, coder, stride=4)},
        describe=lambda found: f"cost {found['call'] / found['one']:.3f} x one dictionary",
    )  # fmt: skip
    assert quick or medians["call"] <= MOST * medians["one"]
