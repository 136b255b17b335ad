# SPDX-License-Identifier: Apache-2.0
"""Stage 7: dictionaries trained for the task, in LISTA form.

The protected classifier's training images are attacked; purified, they shall give the logits of the clean
ones. First one SRD is trained for all images; every cluster's SRD starts from it and is then trained on the
images that the ROBUST encoder puts in that cluster, attacked or not: the choice that inference will make.
Crops of pictures without labels, where there are any, belong to the class that the classifier sees in them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..attacks import ATTACKS, attack_batches
from ..bank import SRDBank
from ..codes import LISTA
from ..coding import split
from ..files import load_tensors, save_tensors
from ..nearest import NearestCluster
from ..networks import ResNet
from ..planes import through_planes
from ..purifier import Purifier
from ..torch_ops import rebuild
from ..training import Batch, Loss, Schedule, fit, generator
from .run import Config, Context, Stage

ATTACK_SHARES = {"pgd": 0.5, "mi_fgsm": 0.25, "fgsm": 0.25}  # of the training images
CLEAN_SHARE = 0.4  # of a step's images, purified without an attack
RIDGE = 0.05  # of the dual frame that the analysis atoms start from, relative to the mean eigenvalue
FIRST_THRESHOLD = 0.01  # thresholds start here, a small share of a code
IMAGES_TOGETHER = 512


@dataclass(frozen=True)
class Pairs:
    """Images and their attacked versions, with the split and the cluster of each.

    Attributes:
        rows: int64 [n], positions in `Context.material`, ascending.
        attacked: uint8 [n, channels, height, width].
        clean_clusters: int64 [n], the robust encoder's choice on the clean image.
        attacked_clusters: int64 [n], its choice on the attacked one.
    """

    rows: np.ndarray
    attacked: np.ndarray
    clean_clusters: np.ndarray
    attacked_clusters: np.ndarray


class LearnedDictionaries(nn.Module):
    """The trainable parts of a bank of LISTA dictionaries."""

    def __init__(self, bank: SRDBank) -> None:
        super().__init__()
        if bank.analysis is None or bank.thresholds is None:
            raise ValueError("bank: expected one with analysis atoms and thresholds")
        self.bank = bank
        self.synthesis = nn.Parameter(torch.from_numpy(bank.synthesis.copy()))
        self.analysis = nn.Parameter(torch.from_numpy(bank.analysis.copy()))
        self.thresholds = nn.Parameter(torch.from_numpy(bank.thresholds.copy()))

    def forward(self, images: Tensor, index: Tensor | None) -> Tensor:
        """Purified images [batch, channels, height, width] by dictionaries `index` [batch]."""
        bank = self.bank
        if images.shape[1] != bank.channels:

            def plane_by_plane(planes: Tensor, n: int) -> Tensor:
                return self(planes, None if index is None else index.repeat(n))

            return through_planes(images, plane_by_plane)
        low, high = split(images, bank.split_strength)
        parts = (self.synthesis, bank.coder, self.analysis, self.thresholds.relu())
        return (low + rebuild(high, *parts, index, bank.patch, bank.stride)).clamp(0, 1)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Copies of synthesis atoms, analysis atoms and thresholds."""
        tensors = (self.synthesis, self.analysis, self.thresholds.relu())
        synthesis, analysis, thresholds = (tensor.detach().cpu().numpy().copy() for tensor in tensors)
        return synthesis, analysis, thresholds

    def trained(self) -> SRDBank:
        """The bank with what was learned."""
        synthesis, analysis, thresholds = self.arrays()
        return replace(self.bank, synthesis=synthesis, analysis=analysis, thresholds=thresholds)


def settings(config: Config) -> dict[str, Any]:
    """What the refined dictionaries depend on."""
    if not config.refine:
        return {"refine": False}
    usual = config.refine_pixel_weight == Config.refine_pixel_weight
    return {
        **({} if usual else {"pixel_weight": config.refine_pixel_weight}),
        "seed": config.seed,
        "steps": config.refine_steps,
        "images": config.refine_images,
        "epochs": config.refine_epochs,
        "batch": config.refine_batch,
        "learning_rate": config.refine_lr,
        "epsilon": config.epsilon,
        "bf16": config.bf16,
    }


def run(context: Context) -> None:
    """Write `purifier.safetensors` and, with one SRD for all images, `global.safetensors`."""
    encoder = context.network("robust")
    bank, everywhere = (
        SRDBank.load(context.path("dictionaries", f"{name}.safetensors")) for name in ("bank", "global")
    )
    if context.config.refine:
        classifier = context.network("baseline").requires_grad_(False)
        pairs = _attacked_pairs(context, classifier, encoder, bank)
        start = _lista_start(everywhere, context)
        everywhere = _train(context, "global", start, classifier, pairs, chosen=False)
        bank = _train(context, "clusters", _copies(everywhere, bank), classifier, pairs, chosen=True)
    size = context.train.images.shape[-1]
    for name, result in (("purifier", bank), ("global", everywhere)):
        Purifier(result, encoder, image_size=size).save(context.path("refine", f"{name}.safetensors"))
    for file in ("pairs", "global-bank", "clusters-bank", "global-checkpoint", "clusters-checkpoint"):
        context.path("refine", f"{file}.safetensors").unlink(missing_ok=True)


def dual_frame(dictionary: np.ndarray) -> np.ndarray:
    """Analysis atoms E with x E^T D close to x: E = D (D^T D + ridge)^-1, [..., atoms, features]."""
    frame = np.swapaxes(dictionary, -1, -2) @ dictionary.astype(np.float64)  # [..., features, features]
    mean = np.trace(frame, axis1=-2, axis2=-1)[..., None, None] / frame.shape[-1]
    inverse = np.linalg.inv(frame + RIDGE * mean * np.eye(frame.shape[-1]))
    return (dictionary @ inverse).astype(np.float32)


def _lista_start(bank: SRDBank, context: Context) -> SRDBank:
    return replace(
        bank,
        coder=LISTA(context.config.refine_steps),
        analysis=dual_frame(bank.synthesis),
        thresholds=np.full(bank.synthesis.shape[:2], FIRST_THRESHOLD, np.float32),
    )


def _copies(everywhere: SRDBank, bank: SRDBank) -> SRDBank:
    """The one dictionary of `everywhere` in every cluster of `bank`."""
    parts = LearnedDictionaries(everywhere).arrays()
    synthesis, analysis, thresholds = (np.repeat(part, bank.clusters, axis=0) for part in parts)
    return replace(
        bank, coder=everywhere.coder, synthesis=synthesis, analysis=analysis, thresholds=thresholds
    )


def _attacked_pairs(context: Context, classifier: ResNet, encoder: ResNet, bank: SRDBank) -> Pairs:
    """Attacks training images, crops and validation images once; kept in a file until the stage is done."""
    path = context.path("refine", "pairs.safetensors")
    if not path.is_file():
        learned, validation = context.split
        order = torch.randperm(len(learned), generator=generator(context.config.seed, 1)).numpy()
        crops = np.arange(len(context.train), len(context.material))
        rows = np.union1d(learned[order[: context.config.refine_images]], np.append(validation, crops))
        save_tensors(path, _attack_and_choose(context, classifier, encoder, bank, rows), {"kind": "pairs"})
    return Pairs(**load_tensors(path)[0])


def _attack_and_choose(
    context: Context, classifier: ResNet, encoder: ResNet, bank: SRDBank, rows: np.ndarray
) -> dict[str, np.ndarray]:
    config, device = context.config, context.device
    images = torch.from_numpy(context.material.images[rows])
    labels = torch.from_numpy(context.material.labels[rows])
    attacked = attack_in_shares(
        classifier, images, labels, config.epsilon, config.seed, device, config.bf16, context.progress
    )
    nearest = NearestCluster(bank.gaussians)
    return {
        "rows": rows,
        "attacked": attacked.numpy(),
        "clean_clusters": nearest(_latents(encoder, images, device))[0],
        "attacked_clusters": nearest(_latents(encoder, attacked, device))[0],
    }


def attack_in_shares(
    classifier: nn.Module,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    seed: int,
    device: torch.device,
    bf16: bool = True,
    progress: bool | None = None,
) -> Tensor:
    """Images uint8 [n, channels, height, width], each under one attack, in the shares of ATTACK_SHARES."""
    attacked = torch.empty_like(images)
    for start, name in _attack_plan(len(images), seed):
        inputs = images[start].to(device).float() / 255
        options: dict[str, Any] = {"epsilon": epsilon, "progress": progress, "description": name}
        if name == "pgd":
            options["seed"] = seed
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            found = attack_batches(ATTACKS[name], classifier, inputs, labels[start].to(device), **options)
        attacked[start] = (found * 255).round().to(torch.uint8).cpu()
    return attacked


def _attack_plan(count: int, seed: int) -> list[tuple[Tensor, str]]:
    """Which of `count` images each attack gets: a random partition in the shares of ATTACK_SHARES."""
    order = torch.randperm(count, generator=generator(seed, 2))
    ends = np.round(np.cumsum(list(ATTACK_SHARES.values())) * count).astype(int)
    return [
        (order[first:last], name)
        for name, first, last in zip(ATTACK_SHARES, [0, *ends[:-1]], ends, strict=True)
        if last > first
    ]


@torch.no_grad()
def _latents(encoder: ResNet, images: Tensor, device: torch.device) -> np.ndarray:
    """Latents float32 [n, latent] of uint8 images."""
    parts = (part.to(device).float() / 255 for part in images.split(IMAGES_TOGETHER))
    return torch.cat([encoder.latents(part).float().cpu() for part in parts]).numpy()


def _train(
    context: Context, name: str, bank: SRDBank, classifier: ResNet, pairs: Pairs, chosen: bool
) -> SRDBank:
    """Trains the dictionaries of `bank`, with `chosen` each on the images of its cluster."""
    result = context.path("refine", f"{name}-bank.safetensors")
    if result.is_file():
        return SRDBank.load(result)
    config = context.config
    _, validation = context.split
    module = LearnedDictionaries(bank)
    schedule = Schedule(
        epochs=config.refine_epochs,
        batch=min(config.refine_batch, len(pairs.rows)),
        learning_rate=config.refine_lr,
        weight_decay=0.0,
        optimizer="adam",
        warmup=0.1,
        bf16=config.bf16,
        augment=False,
        seed=config.seed,
    )
    fit(
        module,
        context.material,
        np.setdiff1d(pairs.rows, validation),
        schedule,
        loss=task_loss(classifier, pairs, chosen, config.refine_pixel_weight),
        checkpoint=context.path("refine", f"{name}-checkpoint.safetensors"),
        validate=_validation(context, classifier, pairs, np.intersect1d(pairs.rows, validation), chosen),
        device=context.device,
        progress=context.progress,
        after_epoch=context.report_epoch(f"refine {name}", config.refine_epochs),
    )
    module.trained().save(result)
    return module.trained()


def task_loss(classifier: nn.Module, pairs: Pairs, chosen: bool, pixel_weight: float) -> Loss:
    """Mean squared difference to the clean image's logits + pixel_weight x mean absolute pixel difference."""

    def loss(module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        spared = torch.rand(len(batch.rows), generator=batch.generator) < CLEAN_SHARE
        mirrored = torch.rand(len(batch.rows), generator=batch.generator) < 0.5
        inputs, clusters = _inputs(pairs, batch.rows.cpu().numpy(), spared.numpy())
        noisy = torch.where(_per_image(spared, batch.images), batch.images, inputs.to(batch.images))
        noisy, clean = (_mirror(images, mirrored) for images in (noisy, batch.images))
        with torch.autocast(noisy.device.type, enabled=False):
            purified = module(noisy, torch.from_numpy(clusters).to(noisy.device) if chosen else None)
        with torch.no_grad():
            wanted = classifier(clean).float()
        logits = classifier(purified).float()
        apart = (purified - clean).abs().mean()
        return (logits - wanted).square().mean() + pixel_weight * apart, logits

    return loss


def _validation(
    context: Context, classifier: ResNet, pairs: Pairs, rows: np.ndarray, chosen: bool
) -> Callable[[nn.Module], dict[str, float]]:
    """Accuracy of the classifier on purified validation images, clean and attacked; both in [0, 1]."""

    def accuracy(module: nn.Module, spared: bool) -> float:
        right = 0
        for start in range(0, len(rows), IMAGES_TOGETHER):
            mine = rows[start : start + IMAGES_TOGETHER]
            inputs, clusters = _inputs(pairs, mine, np.full(len(mine), spared))
            if spared:
                inputs = torch.from_numpy(context.train.images[mine]).float() / 255
            index = torch.from_numpy(clusters).to(context.device) if chosen else None
            answers = classifier(module(inputs.to(context.device), index)).argmax(1).cpu().numpy()
            right += int((answers == context.train.labels[mine]).sum())
        return right / len(rows)

    @torch.no_grad()
    def validate(module: nn.Module) -> dict[str, float]:
        return {"clean": accuracy(module, True), "attacked": accuracy(module, False)} if len(rows) else {}

    return validate


def _inputs(pairs: Pairs, rows: np.ndarray, spared: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """Attacked images of these rows, float in [0, 1], and clusters: the clean image's where spared."""
    places = np.searchsorted(pairs.rows, rows)
    clusters = np.where(spared, pairs.clean_clusters[places], pairs.attacked_clusters[places])
    return torch.from_numpy(pairs.attacked[places]).float() / 255, clusters


def _mirror(images: Tensor, mirrored: Tensor) -> Tensor:
    return torch.where(_per_image(mirrored, images), images.flip(3), images).contiguous()


def _per_image(marks: Tensor, images: Tensor) -> Tensor:
    """Booleans [batch] that broadcast against images [batch, channels, height, width]."""
    return marks[:, None, None, None].to(images.device)


STAGE = Stage(
    "refine",
    needs=("baseline", "robust", "dictionaries"),
    settings=settings,
    run=run,
    splits=("train", "crops"),
)
