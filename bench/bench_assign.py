# SPDX-License-Identifier: Apache-2.0
"""The most likely cluster by the native kernel, by a flat inner-product index and by a matrix product."""

import numpy as np
import pytest

from srdfast.clusters import Gaussians
from srdfast.microbench import Work
from srdfast.nearest import NearestCluster

ENGINES = {"srdfast": "assign", "faiss-cpu": "faiss", "numpy": "product"}


@pytest.mark.parametrize("library", list(ENGINES))
@pytest.mark.parametrize("batch", [1, 128, 16384])
@pytest.mark.parametrize("clusters, latent", [(35, 128), (128, 512)])
def bench_assign(timed, sized, clusters, latent, batch, library):
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    gaussians = Gaussians(
        rng.normal(size=(clusters, latent)).astype(np.float32),
        rng.uniform(0.5, 2, (clusters, latent)).astype(np.float32),
        np.full(clusters, -np.log(clusters), np.float32),
        np.zeros(clusters, np.int64),
    )
    latents = rng.normal(size=(sized(batch, min(batch, 8)), latent)).astype(np.float32)
    lookups = {name: NearestCluster(gaussians, engine) for name, engine in ENGINES.items()}
    for one, other in zip(lookups[library](latents), lookups["srdfast"](latents), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    numbers = latents.size + 2 * clusters * latent
    timed(
        lambda: lookups[library](latents), "assign", f"{clusters} clusters, {latent} features, batch {batch}",
        library, len(latents), "latents", work=Work(4 * clusters * latent, 4 * numbers / len(latents)),
    )  # fmt: skip
