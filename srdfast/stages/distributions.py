# SPDX-License-Identifier: Apache-2.0
"""Stage 4: a diagonal Gaussian of the latents of each cluster."""

from dataclasses import asdict
from typing import Any

from ..clusters import fit_gaussians
from ..files import save_tensors
from .run import Config, Context, Stage


def settings(config: Config) -> dict[str, Any]:
    """What the Gaussians depend on."""
    return {"shrinkage": config.shrinkage}


def run(context: Context) -> None:
    """Write `gaussians.safetensors`, the fields of `clusters.Gaussians`."""
    gaussians = fit_gaussians(context.latents[0], *context.clusters, context.config.shrinkage)
    save_tensors(
        context.path("distributions", "gaussians.safetensors"), asdict(gaussians), {"kind": "gaussians"}
    )


STAGE = Stage("distributions", needs=("latents", "clusters"), settings=settings, run=run)
