# SPDX-License-Identifier: Apache-2.0
"""AutoAttack (Croce and Hein 2020, arXiv 2003.01690): four attacks, each on what the others left standing."""

from functools import partial

import torch
from torch import Tensor

from .apgd import apgd_ce, apgd_t
from .base import Attack, Model, Seed, check, choose, evaluating, is_right
from .fab import fab_t
from .square import square


def auto_attack(
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilon: float = 8 / 255,
    steps: int = 100,
    targets: int = 9,
    queries: int = 5000,
    seed: Seed = 0,
) -> Tensor:
    """APGD-CE, APGD-T, FAB-T and Square in L-infinity, in the order of the published standard version.

    FAB-T starts from the image, without the final search of the published code.

    Args:
        model: images to logits.
        images: float [batch, channels, height, width] in [0, 1].
        labels: int64 [batch].
        epsilon: radius of the ball, in [0, 1].
        steps: of each gradient attack (published: 100).
        targets: classes tried by the targeted attacks (published: 9).
        queries: of Square (published: 5,000).
        seed: of the random starts and the search.
    """
    check(images, labels, epsilon)
    attacks: tuple[Attack, ...] = (
        partial(apgd_ce, epsilon=epsilon, steps=steps, seed=seed),
        partial(apgd_t, epsilon=epsilon, steps=steps, targets=targets, seed=seed),
        partial(fab_t, epsilon=epsilon, steps=steps, targets=targets),
        partial(square, epsilon=epsilon, queries=queries, seed=seed),
    )
    found = images.detach().clone()
    with evaluating(model), torch.no_grad():
        standing = is_right(model, images, labels)
        for attack in attacks:
            rows = standing.nonzero()[:, 0]
            if not len(rows):
                break
            part = choose(model, rows)
            found[rows] = attack(part, images[rows], labels[rows])
            standing[rows] = is_right(part, found[rows], labels[rows])
    return found
