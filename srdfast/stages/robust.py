# SPDX-License-Identifier: Apache-2.0
"""Stage 6: adversarial training of the encoder that chooses the cluster of an attacked image.

Loss: cross-entropy of the adversarial image + beta x distance from its latent to the distribution of the
CLEAN image's own cluster. Training starts from the baseline's weights, so that the latents live in the space
of the distributions.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..attacks import attack_batches, fgsm, pgd
from ..data import balanced_rows
from ..nearest import NearestCluster
from ..networks import ResNet, save_network
from ..training import Batch, Loss, Schedule, fit
from .baseline import accuracy
from .run import Config, Context, Stage

VALIDATION_IMAGES = 512


def settings(config: Config) -> dict[str, Any]:
    """What the robust network depends on."""
    return {
        "seed": config.seed,
        "epochs": config.robust_epochs,
        "batch": config.batch,
        "learning_rate": config.robust_learning_rate,
        "weight_decay": config.weight_decay,
        "bf16": config.bf16,
        "attack": config.attack,
        "attack_steps": config.attack_steps if config.attack == "pgd" else 1,
        "epsilon": config.epsilon,
        "beta": config.beta,
        "distance": config.distance,
    }


def likelihood_distance(
    latents: torch.Tensor, clusters: torch.Tensor, means: torch.Tensor, variances: torch.Tensor
) -> torch.Tensor:
    """Mean negative log-likelihood of the latents in their clusters, per latent feature, in nats.

    Args:
        latents: [batch, latent].
        clusters: int64 [batch].
        means: [clusters, latent].
        variances: [clusters, latent].
    """
    mean, variance = means[clusters], variances[clusters]  # [batch, latent]
    return 0.5 * ((latents - mean) ** 2 / variance + torch.log(2 * math.pi * variance)).mean()


def moment_distance(
    latents: torch.Tensor, clusters: torch.Tensor, means: torch.Tensor, variances: torch.Tensor
) -> torch.Tensor:
    """Mean squared difference of the batch's mean and deviation in a cluster to the cluster's own.

    Arguments as `likelihood_distance`. A cluster with a single latent in the batch counts with its mean
    alone.
    """
    present, index = torch.unique(clusters, return_inverse=True)
    membership = functional.one_hot(index, len(present)).to(latents.dtype)  # [batch, present]
    sizes = membership.sum(0)[:, None]
    batch_mean = membership.T @ latents / sizes  # [present, latent]
    deviation = membership.T @ (latents - batch_mean[index]) ** 2 / (sizes - 1).clamp_min(1)
    of_mean = (batch_mean - means[present]) ** 2
    of_deviation = ((deviation + 1e-12).sqrt() - variances[present].sqrt()) ** 2
    return (of_mean + of_deviation * (sizes > 1)).mean()


DISTANCES: dict[str, Callable[..., torch.Tensor]] = {"nll": likelihood_distance, "moments": moment_distance}


def training_attack(config: Config) -> Callable[..., torch.Tensor]:
    """The attack of the training loop, called with (model, images, labels, seed=generator).

    "fgsm" is one step of 1.25 epsilon from a random start (Wong et al. 2020, arXiv 2001.03994); "pgd" takes
    `attack_steps` steps that add up to 2.5 epsilon.
    """
    if config.attack == "fgsm":
        return partial(fgsm, epsilon=config.epsilon, step=1.25 * config.epsilon, random_start=True)
    step = 2.5 * config.epsilon / config.attack_steps
    return partial(pgd, epsilon=config.epsilon, step=step, steps=config.attack_steps)


def cluster_loss(
    context: Context, distance: Callable[..., torch.Tensor]
) -> Callable[[nn.Module, torch.Tensor, Batch], tuple[torch.Tensor, torch.Tensor]]:
    """A function of (network, images, batch) to cross-entropy + beta x distance, and the logits.

    The images are what became of the batch's, whose labels and clusters they are to be taken for.
    """
    gaussians = context.gaussians
    means = torch.from_numpy(gaussians.means).to(context.device)
    variances = torch.from_numpy(gaussians.variances).to(context.device)
    assignment = torch.from_numpy(context.clusters[0]).to(context.device)

    def loss(net: nn.Module, images: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        assert isinstance(net, ResNet)
        latents = net.latents(images)
        logits = net.head(latents).float()
        apart = distance(latents.float(), assignment[batch.rows], means, variances)
        return functional.cross_entropy(logits, batch.labels) + context.config.beta * apart, logits

    return loss


def adversarial_loss(context: Context) -> Loss:
    """Cross-entropy + beta x distance, both of the adversarial image."""
    attack, of_images = (
        training_attack(context.config),
        cluster_loss(context, DISTANCES[context.config.distance]),
    )

    def loss(net: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        return of_images(net, attack(net, batch.images, batch.labels, seed=batch.generator), batch)

    return loss


def robust_measures(net: ResNet, context: Context, rows: np.ndarray) -> dict[str, float]:
    """Accuracy on clean images, under 10-step PGD, and of the chosen cluster's class there; in [0, 1].

    Of no rows there is nothing to measure.
    """
    if len(rows) == 0:
        return {}
    chosen = rows[balanced_rows(context.train.labels[rows], VALIDATION_IMAGES)]
    images = torch.from_numpy(context.train.images[chosen]).to(context.device).float().div_(255)
    labels = torch.from_numpy(context.train.labels[chosen]).to(context.device)
    attacked = attack_batches(pgd, net, images, labels, progress=False, epsilon=context.config.epsilon)
    with torch.no_grad():
        latents = net.latents(attacked)
        right = (net.head(latents).argmax(1) == labels).float().mean()
    nearest, _ = NearestCluster(context.gaussians)(latents.cpu().numpy())
    agreed = (context.gaussians.labels[nearest] == context.train.labels[chosen]).mean()
    clean = accuracy(net, context.train, rows, context.device)
    return {"validation": clean, "pgd": float(right), "pgd_cluster": float(agreed)}


def run(context: Context) -> None:
    """Train from the baseline's weights, keep the epoch that stands PGD best; write `model.safetensors`."""
    config = context.config
    rows, validation = context.split
    net = context.network("baseline")
    schedule = Schedule(
        epochs=config.robust_epochs,
        batch=min(config.batch, len(rows)),
        learning_rate=config.robust_learning_rate,
        weight_decay=config.weight_decay,
        bf16=config.bf16,
        seed=config.seed,
    )
    history = fit(
        net,
        context.train,
        rows,
        schedule,
        loss=adversarial_loss(context),
        checkpoint=context.checkpoint("robust"),
        validate=lambda trained: robust_measures(trained, context, validation),  # type: ignore[arg-type]
        keep_best="pgd" if len(validation) else None,
        device=context.device,
        progress=context.progress,
        after_epoch=context.report_epoch("robust", config.robust_epochs),
    )
    save_network(context.path("robust", "model.safetensors"), net.cpu(), {"history": history})


STAGE = Stage("robust", needs=("baseline", "clusters", "distributions"), settings=settings, run=run)
