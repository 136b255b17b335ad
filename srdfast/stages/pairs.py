# SPDX-License-Identifier: Apache-2.0
"""Training images and their attacked versions: what the refinement learns from.

Which classifier is attacked, by what and how hard, is drawn for each image in the shares of a `Diet`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..attacks import ATTACKS, Model, attack_batches
from ..clusters import Gaussians
from ..files import load_tensors, save_tensors
from ..nearest import NearestCluster
from ..networks import ResNet
from ..training import generator, in_bfloat16, resident, take
from .latents import encode
from .run import Context

IMAGES_TOGETHER = 512
PROTECTED, ROBUST, TOGETHER = "protected", "robust", "together"
SEEDS_APART = 1000  # from one version's to the next one's


@dataclass(frozen=True)
class Diet:
    """The shares in which images are attacked; each dictionary's values add up to 1.

    Attributes:
        sources: of the attacked networks, by name.
        attacks: of the attacks, names of `srdfast.attacks.ATTACKS`.
        strengths: of the radii, in units of epsilon.
        options: of the attacks, by name.
    """

    sources: Mapping[str, float]
    attacks: Mapping[str, float]
    strengths: Mapping[float, float]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def combinations(self) -> list[tuple[str, str, float, float]]:
        """Source, attack, strength and their share."""
        return [
            (source, attack, strength, first * second * third)
            for (source, first), (attack, second), (strength, third) in product(
                self.sources.items(), self.attacks.items(), self.strengths.items()
            )
        ]


SINGLE = Diet({PROTECTED: 1.0}, {"pgd": 0.5, "mi_fgsm": 0.25, "fgsm": 0.25}, {1.0: 1.0})
"""Of one classifier."""


def several(names: list[str]) -> Diet:
    """Of the protected classifier, those called `names`, the mean of all their logits, and the robust one."""
    return Diet(
        {PROTECTED: 0.45, **dict.fromkeys(names, 0.3 / len(names)), TOGETHER: 0.15, ROBUST: 0.1},
        dict.fromkeys(("pgd", "mi_fgsm", "fgsm", "vmi_fgsm"), 0.25),
        {1.0: 0.7, 0.75: 0.1, 0.5: 0.1, 1.5: 0.1},
        {"pgd": {"steps": 8}, "mi_fgsm": {"steps": 6}, "vmi_fgsm": {"steps": 5, "neighbours": 2}},
    )


@dataclass(frozen=True)
class Pairs:
    """Images and their attacked versions, with the cluster of each.

    Attributes:
        rows: int64 [n], positions in `Context.material`, ascending.
        attacked: uint8 [versions, n, channels, height, width].
        clean_clusters: int64 [n], the encoder's choice on the clean image.
        attacked_clusters: int64 [versions, n], its choice on the attacked ones.
    """

    rows: np.ndarray
    attacked: np.ndarray
    clean_clusters: np.ndarray
    attacked_clusters: np.ndarray
    _moved: "dict[torch.device, PairTensors]" = field(default_factory=dict, init=False, repr=False)

    def on(self, device: torch.device) -> "PairTensors":
        """The same as tensors, on a device as far as its memory goes; moved there once."""
        if device not in self._moved:
            parts = (self.rows, self.attacked, self.clean_clusters, self.attacked_clusters)
            self._moved[device] = PairTensors(*(resident(part, device) for part in parts))
        return self._moved[device]


@dataclass(frozen=True)
class PairTensors:
    """`Pairs` as tensors; some may lie on the CPU."""

    rows: Tensor
    attacked: Tensor
    clean_clusters: Tensor
    attacked_clusters: Tensor

    def inputs(self, rows: Tensor, spared: Tensor, version: int = 0) -> tuple[Tensor, Tensor]:
        """Attacked images of `rows`, float in [0, 1], and clusters: the clean image's where spared.

        Args:
            rows: int64 [n].
            spared: bool [n], on the device of `rows`.
            version: of the attacked images.
        """
        device = rows.device
        places = torch.searchsorted(self.rows.to(device), rows)
        clean, attacked = (
            take(part, places, device) for part in (self.clean_clusters, self.attacked_clusters[version])
        )
        images = take(self.attacked[version], places, device).float() / 255
        return images, torch.where(spared, clean, attacked)


def drawn_version(versions: int, source: torch.Generator) -> int:
    """One of so many versions; where there is one, nothing is drawn."""
    return int(torch.randint(versions, (), generator=source)) if versions > 1 else 0


def attacked_images(context: Context, models: Mapping[str, Model], diet: Diet) -> dict[str, np.ndarray]:
    """`rows` of `Context.material` that were taken, and their versions `attacked`; each kept in a file."""
    config = context.config
    learned, validation = context.split
    order = torch.randperm(len(learned), generator=generator(config.seed, 1)).numpy()
    crops = np.arange(len(context.train), len(context.material))
    rows = np.union1d(learned[order[: config.refine_images]], np.append(validation, crops))
    versions = [_version(context, number, rows, models, diet) for number in range(config.refine_versions)]
    return {"rows": rows, "attacked": np.stack(versions)}


def forget_attacked(context: Context) -> None:
    """Removes the files of the attacked images."""
    for number in range(context.config.refine_versions):
        _version_file(context, number).unlink(missing_ok=True)


def _version_file(context: Context, number: int) -> Path:
    return context.path("refine", f"attacked-{number + 1}.safetensors")


def _version(
    context: Context, number: int, rows: np.ndarray, models: Mapping[str, Model], diet: Diet
) -> np.ndarray:
    """Attacked images uint8 [rows, channels, height, width]; every version has draws of its own."""
    path = _version_file(context, number)
    if not path.is_file():
        config, material = context.config, context.material
        images, labels = (torch.from_numpy(part[rows]) for part in (material.images, material.labels))
        attacked = attack_in_shares(
            models,
            images,
            labels,
            config.epsilon,
            config.seed + SEEDS_APART * number,
            context.device,
            config.bf16,
            context.progress,
            diet,
        )
        save_tensors(path, {"attacked": attacked.numpy()}, {"kind": "attacked images"})
    return load_tensors(path)[0]["attacked"]


def with_clusters(
    context: Context, attacked: Mapping[str, np.ndarray], encoder: ResNet, gaussians: Gaussians
) -> Pairs:
    """The pairs, with the clusters that `encoder` and the distributions choose at a first look."""
    nearest = NearestCluster(gaussians)

    def chosen(images: np.ndarray) -> np.ndarray:
        images = np.flip(images, 3).copy() if context.config.mirror else images
        return nearest(encode(encoder, images, context.device, context.progress, IMAGES_TOGETHER))[0]

    clean = chosen(context.material.images[attacked["rows"]])
    others = np.stack([chosen(version) for version in attacked["attacked"]])
    return Pairs(attacked["rows"], attacked["attacked"], clean, others)


def attack_in_shares(
    models: Mapping[str, Model],
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    seed: int,
    device: torch.device,
    bf16: bool = True,
    progress: bool | None = None,
    diet: Diet = SINGLE,
) -> Tensor:
    """Images uint8 [n, channels, height, width], each under one attack on one of `models`, as `diet` says."""
    attacked = torch.empty_like(images)
    for rows, source, name, strength in _plan(len(images), diet, seed):
        options: dict[str, Any] = {
            **diet.options.get(name, {}),
            "epsilon": min(1.0, strength * epsilon),
            "progress": progress,
            "description": f"{name} on {source}",
        }
        if name in ("pgd", "vmi_fgsm"):
            options["seed"] = seed
        inputs = images[rows].to(device).float() / 255
        with in_bfloat16(device, bf16):
            found = attack_batches(ATTACKS[name], models[source], inputs, labels[rows].to(device), **options)
        attacked[rows] = (found * 255).round().to(torch.uint8).cpu()
    return attacked


def mean_logits(models: Sequence[Model]) -> Model:
    """A model whose logits are the mean of theirs."""
    return lambda images: torch.stack([model(images).float() for model in models]).mean(0)


def _plan(count: int, diet: Diet, seed: int) -> list[tuple[Tensor, str, str, float]]:
    """Which of `count` images are attacked how: a random partition in the shares of `diet`."""
    order = torch.randperm(count, generator=generator(seed, 2))
    combinations = diet.combinations()
    ends = np.round(np.cumsum([share for *_, share in combinations]) * count).astype(int)
    return [
        (order[first:last], source, attack, strength)
        for (source, attack, strength, _), first, last in zip(
            combinations, [0, *ends[:-1]], ends, strict=True
        )
        if last > first
    ]
