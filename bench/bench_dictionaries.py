# SPDX-License-Identifier: Apache-2.0
"""Fifty dictionaries beside one: the images of a batch choose theirs, and that must cost next to nothing.

The fifty are one dictionary with its atoms in other orders: other tables, the same answers and work.
"""

import numpy as np
import pytest

import srdfast
from srdfast.microbench import purify_work

MANY, MOST = 50, 1.15


@pytest.mark.parametrize("coder", [srdfast.OMP(4), srdfast.LISTA(1)], ids=["OMP(4)", "LISTA(1)"])
def bench_dictionaries(timed, request, learned, crops, sized, quick, coder):
    synthesis, analysis, thresholds = learned(192, 256)
    parts = (synthesis, analysis, thresholds) if isinstance(coder, srdfast.LISTA) else (synthesis,)
    images = srdfast.split(crops(sized(4096, 60), 3, 32, 32))[1]
    rng = np.random.default_rng(0)
    index = rng.integers(0, MANY, len(images))
    orders = [rng.permutation(256) for _ in range(MANY)]
    one = srdfast.prepare(*parts)
    many = srdfast.prepare(*(np.stack([part[order] for order in orders]) for part in parts))

    def over_one():
        return srdfast.purify_patches(images, one, coder, stride=4)

    def over_many():
        return srdfast.purify_patches(images, many, coder, index=index, stride=4)

    different = np.max(np.abs(over_one() - over_many()), axis=(1, 2, 3)) > 1e-3
    assert np.mean(different) < 0.02  # rounding may tip a choice of OMP
    name = request.node.callspec.id
    medians = timed(
        over_many, "many dictionaries", f"{name}, 32x32x3 over {MANY}", "srdfast", len(images), "images",
        work=purify_work((3, 32, 32), 256, coder), rounds=5, beside={"one": over_one},
        describe=lambda found: f"cost {found['call'] / found['one']:.3f} x one dictionary",
    )  # fmt: skip
    assert quick or medians["call"] <= MOST * medians["one"]
