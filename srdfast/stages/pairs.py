# SPDX-License-Identifier: Apache-2.0
"""Training images and their attacked versions: what the refinement learns from.

Which classifier is attacked, by what and how hard, is drawn for each image in the shares of a `Diet`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
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
ATTACKED_TOGETHER = 4096  # images of which all steps' copies are in memory; whole batches of `attack_batches`
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
class Attacked:
    """Attacked versions of images.

    Attributes:
        rows: int64 [n], positions of the images in `Context.material`, ascending.
        versions: uint8 [versions, n, channels, height, width].
    """

    rows: np.ndarray
    versions: np.ndarray
    _moved: dict[torch.device, tuple[Tensor, Tensor]] = field(default_factory=dict, init=False, repr=False)

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Rows and versions as tensors, on a device as far as its memory goes; moved there once."""
        if device not in self._moved:
            self._moved[device] = (torch.from_numpy(self.rows).to(device), resident(self.versions, device))
        return self._moved[device]

    def images(self, rows: Tensor, version: int = 0) -> Tensor:
        """One version of the images at `rows` (int64 [n]), float32 [n, channels, height, width] in [0, 1]."""
        known, versions = self._on(rows.device)
        return take(versions[version], torch.searchsorted(known, rows), rows.device).float() / 255

    def drawn(self, rows: Tensor, source: torch.Generator) -> tuple[Tensor, int]:
        """These images in a version that is drawn, and which; where there is one, nothing is drawn."""
        count = len(self.versions)
        version = int(torch.randint(count, (), generator=source)) if count > 1 else 0
        return self.images(rows, version), version


@dataclass(frozen=True)
class Choices:
    """The clusters whose dictionaries rebuild images and their attacked versions.

    Attributes:
        rows: int64 [n], positions of the images in `Context.material`, ascending.
        clean: int64 [n], the encoder's choice on the clean image.
        attacked: int64 [versions, n], its choice on the attacked ones.
    """

    rows: Tensor
    clean: Tensor
    attacked: Tensor

    def of(self, rows: Tensor, spared: Tensor, version: int) -> Tensor:
        """Clusters, int64 [n].

        Args:
            rows: int64 [n].
            spared: bool [n], which of the images are not attacked.
            version: of the others.
        """
        places = torch.searchsorted(self.rows, rows)
        return torch.where(spared, self.clean[places], self.attacked[version, places])


def attacked_images(context: Context, models: Mapping[str, Model], diet: Diet) -> Attacked:
    """Attacked versions of training images, of all validation images and crops; each is kept in a file."""
    config = context.config
    learned, validation = context.split
    order = torch.randperm(len(learned), generator=generator(config.seed, 1)).numpy()
    crops = np.arange(len(context.train), len(context.material))
    rows = np.union1d(learned[order[: config.refine_images]], np.append(validation, crops))
    shape = (config.refine_versions, len(rows), *context.material.images.shape[1:])
    versions = np.empty(shape, np.uint8)
    for number in range(config.refine_versions):
        versions[number] = _version(context, number, rows, models, diet)
    return Attacked(rows, versions)


def _version(
    context: Context, number: int, rows: np.ndarray, models: Mapping[str, Model], diet: Diet
) -> np.ndarray:
    """Attacked images uint8 [rows, channels, height, width]; every version has draws of its own."""
    path = context.scratch("refine", f"attacked-{number + 1}.safetensors")
    if not path.is_file():
        config, material = context.config, context.material
        images, labels = (torch.from_numpy(part[rows]) for part in (material.images, material.labels))
        attacked = attack_in_shares(
            models,
            images,
            labels,
            diet=diet,
            epsilon=config.epsilon,
            seed=config.seed + SEEDS_APART * number,
            device=context.device,
            bf16=config.bf16,
            progress=context.progress,
        )
        save_tensors(path, {"attacked": attacked.numpy()}, {"kind": "attacked images"})
    return load_tensors(path)[0]["attacked"]


def choices(
    context: Context, attacked: Attacked, encoder: ResNet, gaussians: Gaussians, mirror: bool
) -> Choices:
    """What `encoder` and the distributions choose at a first look, at the image or its mirror image."""
    nearest = NearestCluster(gaussians)

    def chosen(images: np.ndarray) -> Tensor:
        images = np.flip(images, 3).copy() if mirror else images
        latents = encode(encoder, images, context.device, context.progress, IMAGES_TOGETHER)
        return torch.from_numpy(nearest(latents)[0]).to(context.device)

    rows = torch.from_numpy(attacked.rows).to(context.device)
    others = [chosen(version) for version in attacked.versions]
    return Choices(rows, chosen(context.material.images[attacked.rows]), torch.stack(others))


def attack_in_shares(
    models: Mapping[str, Model],
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    seed: int,
    device: torch.device,
    diet: Diet = SINGLE,
    bf16: bool = True,
    progress: bool | None = None,
) -> Tensor:
    """Images uint8 [n, channels, height, width], each under one attack on one of `models`, as `diet` says.

    Args:
        models: the networks of `diet`, images -> logits, on the device.
        images: uint8 [n, channels, height, width], on the CPU.
        labels: int64 [n].
        epsilon: radius of the L-infinity ball at strength 1, in [0, 1].
        seed: of the partition and of the attacks' draws.
        device: where to compute.
        diet: which network is attacked by what, how hard, for which share of the images.
        bf16: attack in bfloat16 where that is fast.
        progress: bars on stderr; by default only on a terminal.
    """
    attacked = torch.empty_like(images)
    for rows, source, name, strength in _plan(len(images), diet, seed):
        options: dict[str, Any] = {
            **diet.options.get(name, {}),
            "epsilon": min(1.0, strength * epsilon),
            "progress": progress,
            "description": f"{name} on {source}",
        }
        for start in range(0, len(rows), ATTACKED_TOGETHER):
            some = rows[start : start + ATTACKED_TOGETHER]
            if name in ("pgd", "vmi_fgsm"):
                options["seed"] = seed + start
            inputs = images[some].to(device).float() / 255
            with in_bfloat16(device, bf16):
                found = attack_batches(
                    ATTACKS[name], models[source], inputs, labels[some].to(device), **options
                )
            attacked[some] = (found * 255).round().to(torch.uint8).cpu()
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
