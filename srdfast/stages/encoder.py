# SPDX-License-Identifier: Apache-2.0
"""The encoder learns to choose under the attacks that the purifier is for: those made on other networks.

Adversarial training against itself alone makes an encoder that gives up much for an attacker who is not the
purifier's. Here it goes on from the robust network's weights with clean images, images attacked on other
classifiers (Tramèr et al. 2018, arXiv 1705.07204, section 3.3) and, by option, images attacked on itself.
Where its latents then lie is estimated anew.
"""

import numpy as np
import torch
from torch import nn

from ..attacks.base import per_image
from ..clusters import Gaussians, fit_gaussians
from ..networks import ResNet, load_network, save_network
from ..training import Batch, Loss, Schedule, augment, fit
from .config import CLEAN_SHARE
from .latents import encode
from .pairs import IMAGES_TOGETHER, Attacked
from .robust import cluster_loss, likelihood_distance, training_attack
from .run import Context

RATE = 0.05  # peak learning rate


def tuned_encoder(context: Context, attacked: Attacked) -> ResNet:
    """The robust network, trained on for `refine_encoder_epochs`; kept in a file until the stage is done."""
    config, path = context.config, context.scratch("refine", "encoder.safetensors")
    network = context.encoder
    if not config.refine_encoder_epochs:
        return network
    if not path.is_file():
        rows = np.intersect1d(attacked.rows, context.split[0])
        schedule = Schedule(
            epochs=config.refine_encoder_epochs,
            batch=min(config.batch, len(rows)),
            learning_rate=RATE,
            weight_decay=config.weight_decay,
            bf16=config.bf16,
            augment=False,  # an image and its attacked version are cropped alike, below
            seed=config.seed,
        )
        fit(
            network,
            context.train,
            rows,
            schedule,
            loss=transfer_loss(context, attacked),
            checkpoint=context.scratch("refine", "encoder-checkpoint.safetensors"),
            device=context.device,
            progress=context.progress,
            after_epoch=context.report_epoch("refine encoder", config.refine_encoder_epochs),
        )
        save_network(path, network.cpu())
    # Read even where it was just trained: the weights lie otherwise then, and give other last bits.
    return load_network(path).to(context.device).eval()


def tuned_gaussians(context: Context, attacked: Attacked, encoder: ResNet) -> Gaussians:
    """The distributions of the tuned encoder's latents, clean and attacked, in the same clusters."""
    if not context.config.refine_encoder_epochs:
        return context.gaussians
    (learned, _), (assignment, labels) = context.split, context.clusters
    ours = np.isin(attacked.rows, learned)  # neither for validation nor crops
    parts = context.train.images[learned], attacked.versions[0][ours]
    latents = [encode(encoder, part, context.device, context.progress, IMAGES_TOGETHER) for part in parts]
    both = assignment[np.concatenate([learned, attacked.rows[ours]])]
    return fit_gaussians(np.concatenate(latents), both, labels, context.config.shrinkage)


def transfer_loss(context: Context, attacked: Attacked) -> Loss:
    """Cross-entropy + beta x negative log-likelihood in the cluster, of images attacked in several ways."""
    attack, own_share = training_attack(context.config), context.config.refine_encoder_own_share
    of_images = cluster_loss(context, likelihood_distance)

    def loss(net: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        device = batch.images.device
        drawn = torch.rand(len(batch.rows), generator=batch.generator)
        transferred = ((drawn >= CLEAN_SHARE) & (drawn < 1 - own_share)).to(device)
        own = (drawn >= 1 - own_share).nonzero()[:, 0].to(device)
        others, _ = attacked.drawn(batch.rows, batch.generator)
        images = torch.where(per_image(transferred), others, batch.images)
        images = torch.empty_like(batch.images).copy_(augment(images, batch.generator))
        if len(own):
            images[own] = attack(net, images[own], batch.labels[own], seed=batch.generator)
        return of_images(net, images, batch)

    return loss
