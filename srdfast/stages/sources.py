# SPDX-License-Identifier: Apache-2.0
"""Further classifiers, of other architectures than the protected one, for the refinement alone.

Attacks made on several classifiers, and the logits of several, teach the dictionaries what perturbations have
in common; trained against one network they learn that network (Tramèr et al. 2018, arXiv 1705.07204,
section 3.3, for training classifiers). None of them ships: they are trained, used and thrown away.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..files import load_tensors, save_tensors
from ..networks import ResNet
from ..training import Schedule, fit
from .run import Context

SMALL = 64  # pixels; larger images are reduced by the first layer
RATE = 0.2  # peak learning rate


class IsotropicNet(nn.Module):
    """A residual network whose blocks have one resolution, with smooth activations.

    Args:
        width: features of the residual blocks; the last convolution has four times as many.
        classes: number of classes.
        stride: of the first convolution.
        mean: per-channel mean of the training images, in [0, 1].
        std: per-channel standard deviation of the training images.
        blocks: residual blocks of two convolutions.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        width: int,
        classes: int,
        stride: int,
        mean: Sequence[float],
        std: Sequence[float],
        blocks: int = 3,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self.stem = _convolution(len(mean), width, 2 * stride, stride, padding=stride // 2)
        self.blocks = nn.ModuleList(
            nn.Sequential(_convolution(width, width, 3), nn.SiLU(), _convolution(width, width, 3))
            for _ in range(blocks)
        )
        self.last = _convolution(width, 4 * width, 3, stride=2)
        self.head = nn.Linear(4 * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [batch, classes] of images [batch, channels, height, width] in [0, 1]."""
        features = functional.silu(self.stem((images - self.mean) / self.std))
        for block in self.blocks:
            features = functional.silu(features + block(features))
        return self.head(functional.silu(self.last(features)).mean((2, 3)))


def _convolution(before: int, after: int, side: int, stride: int = 1, padding: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, side, stride, padding, bias=False), nn.BatchNorm2d(after))


def _shallow(context: Context, mean: list[float], std: list[float]) -> nn.Module:
    stem = "small" if max(context.train.images.shape[2:]) <= SMALL else "large"
    return ResNet(10, context.config.width, len(context.train.classes), stem, mean, std)


def _isotropic(context: Context, mean: list[float], std: list[float]) -> nn.Module:
    stride = 2 if max(context.train.images.shape[2:]) <= SMALL else 8
    return IsotropicNet(3 * context.config.width, len(context.train.classes), stride, mean, std)


SOURCES: dict[str, Callable[[Context, list[float], list[float]], nn.Module]] = {
    "shallow": _shallow,
    "isotropic": _isotropic,
}


def trained_sources(context: Context) -> list[nn.Module]:
    """The first `refine_sources` classifiers of SOURCES, in eval mode on the device; trained where needed."""
    return [_trained(context, number) for number in range(context.config.refine_sources)]


def forget_sources(context: Context) -> None:
    """Removes their files."""
    for name in SOURCES:
        for file in (f"source-{name}", f"source-{name}-checkpoint"):
            context.path("refine", f"{file}.safetensors").unlink(missing_ok=True)


def _trained(context: Context, number: int) -> nn.Module:
    """Classifier `number` of SOURCES, from its file, or trained on the clean training images."""
    name = list(SOURCES)[number]
    config, path = context.config, context.path("refine", f"source-{name}.safetensors")
    network = _untrained(context, name, config.seed + 1 + number)
    if path.is_file():
        weights, _ = load_tensors(path)
        network.load_state_dict({key: torch.from_numpy(np.array(array)) for key, array in weights.items()})
    else:
        rows, _ = context.split
        schedule = Schedule(
            epochs=config.refine_source_epochs,
            batch=min(config.batch, len(rows)),
            learning_rate=RATE,
            bf16=config.bf16,
            seed=config.seed + 1 + number,
        )
        fit(
            network,
            context.train,
            rows,
            schedule,
            checkpoint=context.path("refine", f"source-{name}-checkpoint.safetensors"),
            device=context.device,
            progress=context.progress,
            after_epoch=context.report_epoch(f"refine source {name}", config.refine_source_epochs),
        )
        weights = {key: tensor.cpu().numpy() for key, tensor in network.state_dict().items()}
        save_tensors(path, weights, {"kind": "source"})
    # Trained or read, the weights lie alike, so that what is computed with them has the same bits.
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return network.to(context.device).eval().requires_grad_(False)


def _untrained(context: Context, name: str, seed: int) -> nn.Module:
    images = context.train.images
    channels = range(images.shape[1])
    mean = [float(images[:, channel].mean() / 255) for channel in channels]
    std = [float(images[:, channel].std() / 255) for channel in channels]
    torch.manual_seed(seed)
    return SOURCES[name](context, mean, std)
