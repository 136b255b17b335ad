# SPDX-License-Identifier: Apache-2.0
"""The settings of the training stages."""

import math
from dataclasses import dataclass, field, fields
from typing import Any

MAY_BE_ZERO = {"seed", "adaptive_images", "refine_sources", "refine_encoder_epochs", "refine_epochs"}
CHOICES: dict[str, tuple[Any, ...]] = {
    "depth": (10, 18),
    "attack": ("fgsm", "pgd"),
    "distance": ("nll", "moments"),
}
CLEAN_SHARE = 0.4  # of the images of a step that tunes the encoder; the others are attacked
MOST = {
    "validation": 0.5,
    "epsilon": 1.0,
    "shrinkage": 1.0,
    "refine_clean_share": 1.0,
    "refine_protected_share": 1.0,
    "refine_encoder_own_share": 1 - CLEAN_SHARE,
}


def _option(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Config:
    """Every setting of every stage; each field's metadata holds its help text.

    Raises:
        ValueError: a number is out of its range.
    """

    seed: int = _option(0, "source of all randomness")
    images: int | None = _option(None, "use so many training images, the first of each class (default: all)")
    size: int | None = _option(None, "side in pixels that a folder of pictures is resized to (default: 224)")
    validation: float = _option(0.02, "share of the training images kept aside for choices")
    bf16: bool = _option(True, "train in bfloat16 where that is safe and the device computes in it")
    depth: int = _option(18, "layers of both networks: 10 or 18")
    width: int = _option(16, "features of the networks' first stage; the latents have eight times as many")
    batch: int = _option(128, "images a training step")
    weight_decay: float = _option(5e-4, "weight decay of both networks")
    epochs: int = _option(20, "baseline: passes over the training images")
    learning_rate: float = _option(0.2, "baseline: peak learning rate")
    max_clusters: int = _option(6, "clusters: largest number a class may have")
    components: int = _option(4, "clusters: principal components of the latents that are grouped")
    min_size: int = _option(50, "clusters: smallest number of images a cluster may have")
    shrinkage: float = _option(0.1, "distributions: least weight of the pooled variance in each cluster's")
    atoms: int = _option(256, "dictionaries: atoms of each dictionary")
    patch: int = _option(8, "dictionaries: side of the patches in pixels")
    stride: int = _option(2, "dictionaries: distance between neighbouring patches in pixels")
    planes: bool = _option(
        False, "dictionaries: of one channel, for luma and chroma apart, as video has them"
    )
    split_strength: float | None = _option(
        None,
        "dictionaries, refine: strength of the low-pass filter whose output passes; the rest is rebuilt "
        "(default: 5, or that of refine_start)",
    )
    dictionary_penalty: float = _option(0.1, "dictionaries: lasso penalty of the learning")
    dictionary_epochs: int = _option(1, "dictionaries: passes over the patches")
    dictionary_patches: int = _option(
        20_000, "dictionaries: most patches that each cluster's dictionary learns from"
    )
    crops: int = _option(1000, "dictionaries, refine: crops of the pictures without labels, if there are any")
    robust_epochs: int = _option(10, "robust: passes over the training images")
    robust_learning_rate: float = _option(0.1, "robust: peak learning rate")
    attack: str = _option("fgsm", "robust, refine: attack on the encoder in its training, fgsm or pgd")
    attack_steps: int = _option(7, "robust, refine: steps of that attack, where it is pgd")
    epsilon: float = _option(8 / 255, "robust, refine: radius of the attack's L-infinity ball, in [0, 1]")
    beta: float = _option(
        0.1, "robust, refine: weight of the distance from the latent to its cluster's distribution"
    )
    distance: str = _option("nll", "robust: nll (negative log-likelihood a latent feature) or moments")
    refine: bool = _option(True, "refine: train the dictionaries for the task")
    classifier: str = _option(
        "",
        "refine, evaluate: network to protect, a file (of srdfast, or a .pt2 of torch.export) or the name of "
        "a shipped one (default: the baseline)",
    )
    refine_start: str = _option(
        "",
        "refine: earlier purifier to go on from, a file or the name of a shipped one: its encoder and "
        "clusters stay, its dictionaries learn, and the stages before are left out (default: none)",
    )
    refine_steps: int | None = _option(
        None, "refine: shrinkage steps of the trained coder (default: 3, or those of refine_start)"
    )
    refine_images: int = _option(10_000, "refine: most training images used")
    refine_epochs: int = _option(4, "refine: passes over those images (0: none, the dictionaries stay)")
    refine_batch: int = _option(64, "refine: images a training step")
    refine_clean_share: float = _option(0.4, "refine: share of a step's images that are purified unattacked")
    refine_pixel_weight: float = _option(
        10.0, "refine: weight of the mean absolute pixel difference beside the mean squared logit difference"
    )
    refine_label_weight: float = _option(0.0, "refine: weight of the cross-entropy with the true label")
    refine_sources: int = _option(
        0, "refine: further classifiers, trained for this alone, that are attacked and listened to as well"
    )
    refine_protected_share: float = _option(
        0.5, "refine: share of the steps in which the classifier that is protected is listened to, of several"
    )
    refine_source_epochs: int = _option(6, "refine: passes of their training")
    refine_versions: int = _option(1, "refine: attacked versions of each image; a step sees one of them")
    refine_encoder_epochs: int = _option(
        0, "refine: passes over those images that teach the encoder to choose under attacks on other networks"
    )
    refine_encoder_own_share: float = _option(
        0.25,
        "refine: of that training's images, those attacked on the encoder itself, from 0 to 0.6; fewer make "
        "it choose better where others are attacked",
    )
    refine_denoiser: bool = _option(
        False, "refine: also train a convolutional denoiser of the same cost in the same way, as a rival"
    )
    refine_lr: float = _option(1e-3, "refine: peak learning rate")
    refine_clusters_lr: float = _option(
        0.0,
        "refine: the same for the clusters' dictionaries, which see a few of a step's images each (0: as it)",
    )
    refine_calibrate: bool = _option(
        False,
        "refine: at the end choose split strength, height of the thresholds, temperature and mirror on the "
        "validation images",
    )
    temperature: float | None = _option(
        None,
        "refine: temperature, in nats, at which the dictionary of all images has a part where two classes "
        "are in doubt (default: 0, never, or that of refine_start)",
    )
    mirror: bool | None = _option(
        None,
        "refine: choose the dictionary of each image by its mirror image, to which a perturbation carries "
        "over less, and where classes are in doubt by both (default: no, or as refine_start)",
    )
    evaluate_images: int = _option(500, "evaluate: test images of the report")
    adaptive_images: int = _option(100, "evaluate: of these, so many are attacked through the whole pipeline")

    def __post_init__(self) -> None:
        for option in fields(self):
            value, least = getattr(self, option.name), 0 if option.name in MAY_BE_ZERO else 1
            if isinstance(value, float) and not 0 <= value < math.inf:
                raise ValueError(f"{option.name}: expected a finite number, 0 or more, got {value}")
            if isinstance(value, int) and not isinstance(value, bool) and value < least:
                raise ValueError(f"{option.name}: expected {least} or more, got {value}")
        for name, most in MOST.items():
            if getattr(self, name) > most:
                raise ValueError(f"{name}: expected at most {most:g}, got {getattr(self, name)}")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                expected = ", ".join(map(str, choices))
                raise ValueError(f"{name}: expected one of {expected}, got {getattr(self, name)}")
        if self.stride > self.patch:
            raise ValueError(f"stride: expected at most the patch's {self.patch} pixels, got {self.stride}")
