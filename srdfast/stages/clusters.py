# SPDX-License-Identifier: Apache-2.0
"""Stage 3: the semantic clusters of each class, as many as the latents call for."""

import json
from typing import Any

import numpy as np

from ..clusters import choose_clusters
from ..files import atomic_write, save_tensors
from .run import Config, Context, Stage


def settings(config: Config) -> dict[str, Any]:
    """What the clusters depend on."""
    return {
        "seed": config.seed,
        "max_clusters": config.max_clusters,
        "components": config.components,
        "min_size": config.min_size,
    }


def run(context: Context) -> None:
    """Write `clusters.safetensors` (assignment int64 [n], labels int64 [clusters]) and `clusters.json`."""
    latents, labels = context.latents
    assignment = np.full(len(latents), -1, np.int64)
    owners: list[int] = []
    report: dict[str, Any] = {}
    for label, name in enumerate(context.train.classes):
        rows = labels == label
        if not rows.any():
            continue
        groups, found = choose_clusters(latents[rows], **settings(context.config))
        assignment[rows] = groups + len(owners)
        owners += [label] * found["clusters"]
        sizes = np.bincount(groups).tolist()
        report[name] = {**found, "sizes": sizes}
        context.log(f"clusters: {name}: {found['clusters']} of sizes {', '.join(map(str, sizes))}")
    tensors = {"assignment": assignment, "labels": np.array(owners, np.int64)}
    save_tensors(context.path("clusters", "clusters.safetensors"), tensors, {"kind": "clusters"})
    with atomic_write(context.path("clusters", "clusters.json")) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


STAGE = Stage("clusters", needs=("latents",), settings=settings, run=run)
