# SPDX-License-Identifier: Apache-2.0
"""Stage 5: a Semantic Reconstruction Dictionary a cluster, from the high band of the cluster's own images.

Pictures without labels count to the cluster that is nearest to what the baseline sees in them.
"""

import sys
from typing import Any

import numpy as np
from tqdm import tqdm

from ..bank import SRDBank
from ..clusters import Gaussians, fit_gaussians
from ..codes import Lasso
from ..dictionaries import high_band_patches, learn_dictionary
from ..nearest import NearestCluster
from ..planes import luma_of
from .calibrate import Calibration
from .latents import encode
from .run import Config, Context, Stage

PURIFY_PENALTY = 0.1  # of the coder that purifies with dictionaries that are not refined


def settings(config: Config) -> dict[str, Any]:
    """What the dictionaries depend on."""
    planes = {"planes": True} if config.planes else {}
    return {
        **planes,
        "seed": config.seed,
        "atoms": config.atoms,
        "patch": config.patch,
        "stride": config.stride,
        "split_strength": Calibration.given(config).split_strength,
        "penalty": config.dictionary_penalty,
        "epochs": config.dictionary_epochs,
        "patches": config.dictionary_patches,
    }


def run(context: Context) -> None:
    """Write `bank.safetensors`, a dictionary a cluster, and `global.safetensors`, one for all images."""
    images, assignment = context.material.images, _assignment(context)
    gaussians = context.gaussians
    rows = [np.flatnonzero(assignment == cluster) for cluster in range(len(gaussians))]
    hidden = None if context.progress is None else not context.progress
    bar = tqdm(rows, desc="dictionaries", unit="cluster", file=sys.stderr, disable=hidden)
    synthesis = np.stack([_learn(context, images[mine], cluster) for cluster, mine in enumerate(bar)])
    _bank(context, gaussians, synthesis).save(context.path("dictionaries", "bank.safetensors"))

    everything = _learn(context, images, len(rows))
    latents, labels = context.latents
    everywhere = fit_gaussians(latents, np.zeros_like(labels), np.zeros(1, np.int64))
    bank = _bank(context, everywhere, everything[None])
    bank.save(context.path("dictionaries", "global.safetensors"))
    context.log(f"dictionaries: {len(rows)} of {context.config.atoms} atoms, and one for all images")


def _assignment(context: Context) -> np.ndarray:
    """The cluster of each image of `context.material`, int64 [n]."""
    assignment, _ = context.clusters
    if context.crops is None:
        return assignment
    latents = encode(context.network("baseline"), context.crops.images, context.device, context.progress)
    return np.concatenate([assignment, NearestCluster(context.gaussians)(latents)[0]])


def _learn(context: Context, images: np.ndarray, number: int) -> np.ndarray:
    config = context.config
    seed = config.seed + number
    if config.planes:
        images = np.rint(luma_of(images)).astype(np.uint8)  # [n, 1, height, width]
    patches = high_band_patches(
        images,
        config.dictionary_patches,
        config.patch,
        config.stride,
        Calibration.given(config).split_strength,
        seed,
    )
    return learn_dictionary(
        patches, config.atoms, config.dictionary_penalty, config.dictionary_epochs, seed=seed
    )


def _bank(context: Context, gaussians: Gaussians, synthesis: np.ndarray) -> SRDBank:
    config = context.config
    return SRDBank(
        gaussians=gaussians,
        synthesis=synthesis,
        coder=Lasso(PURIFY_PENALTY),
        classes=context.train.classes,
        channels=1 if config.planes else context.train.images.shape[1],
        patch=config.patch,
        stride=config.stride,
        split_strength=Calibration.given(config).split_strength,
    )


STAGE = Stage(
    "dictionaries",
    needs=("latents", "clusters", "distributions"),
    settings=settings,
    run=run,
    splits=("train", "crops"),
)
