# SPDX-License-Identifier: Apache-2.0
"""The networks that srdfast is compared with: a denoiser of its cost, a classifier without shortcuts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .codes import LISTA
from .errors import ModelFormatError
from .files import load_tensors, save_tensors
from .networks import Normalised

if TYPE_CHECKING:
    from .purifier import Purifier

LAYERS = 8  # convolutions of the denoiser


class Denoiser(nn.Module):
    """A plain convolutional denoiser: images + what eight 3 x 3 convolutions say, clipped to [0, 1].

    After DnCNN (Zhang et al. 2017, arXiv 1608.03981), without batch normalisation; before training it
    returns its images.

    Args:
        width: features of the inner layers.
        channels: of the images.
    """

    def __init__(self, width: int = 32, channels: int = 3) -> None:
        super().__init__()
        self.spec = {"kind": "denoiser", "width": width, "channels": channels}
        sizes = [channels, *[width] * (LAYERS - 1), channels]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(sizes):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers[:-1])
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]

    def forward(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        """Denoised images [batch, channels, height, width]; `index` is for modules with many dictionaries."""
        return (images + self.layers(images)).clamp(0, 1)


class PlainNet(Normalised):
    """A classifier without shortcuts: 3 x 3 convolutions in pairs, pooled to half the size after each pair.

    After VGG (Simonyan and Zisserman 2015, arXiv 1409.1556), with batch normalisation.

    Args:
        width: features of the first pair; each later one has twice as many.
        classes: number of classes.
        pairs: of convolutions.
        stem: stride of the first convolution, 4 for large images.
        mean: per-channel mean of the training images, in [0, 1].
        std: per-channel standard deviation of the training images.
    """

    def __init__(
        self,
        width: int = 24,
        classes: int = 10,
        pairs: int = 3,
        stem: int = 1,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.25, 0.25, 0.25),
    ) -> None:
        super().__init__(mean, std)
        self.spec = {
            "kind": "plain",
            "width": width,
            "classes": classes,
            "pairs": pairs,
            "stem": stem,
            "mean": [float(value) for value in mean],
            "std": [float(value) for value in std],
        }
        layers: list[nn.Module] = []
        before = len(mean)
        for pair in range(pairs):
            for _ in range(2):
                stride = 1 if layers else stem
                side = max(3, 2 * stride - 1)
                layers += [
                    nn.Conv2d(before, width << pair, side, stride, padding=side // 2, bias=False),
                    nn.BatchNorm2d(width << pair),
                    nn.ReLU(inplace=True),
                ]
                before = width << pair
            layers.append(nn.MaxPool2d(2))
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(before, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [batch, classes] of images [batch, channels, height, width] in [0, 1]."""
        return self.head(self.layers(self.normalise(images)).amax((2, 3)))


KINDS: dict[str, type[Denoiser] | type[PlainNet]] = {"denoiser": Denoiser, "plain": PlainNet}


def multiply_adds(network: nn.Module, shape: Sequence[int]) -> int:
    """Multiply-adds that a network takes for one image of `shape` [channels, height, width]."""
    device = next(network.parameters()).device
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *shape, device=device))
    return int(counter.get_total_flops()) // 2


def purifier_multiply_adds(purifier: Purifier, shape: Sequence[int]) -> int:
    """The same for a purifier with the coder LISTA and an image that is not in doubt.

    Its encoder once, and two products a step and patch. With dictionaries of one channel, the patches of RGB
    are those of the luma and of two chroma planes of half its sides.
    """
    bank = purifier.bank
    if not isinstance(bank.coder, LISTA):
        raise ValueError(f"purifier: expected the coder LISTA, whose cost is fixed, got {bank.coder}")
    planes = [shape[1:]]
    if shape[0] != bank.channels:
        planes += [[math.ceil(side / 2) for side in shape[1:]]] * 2
    patches = sum(_patches(plane, bank.patch, bank.stride) for plane in planes)
    products = 2 * bank.coder.steps * bank.synthesis.shape[1] * bank.synthesis.shape[2]
    size = purifier.image_size
    seen = shape if size is None else (shape[0], size, size)
    return multiply_adds(purifier.encoder, seen) + patches * products


def _patches(sides: Sequence[int], patch: int, stride: int) -> int:
    """How many patches cover an image; the last of a row or column overlaps more where they do not fit."""
    return math.prod(math.ceil((side - patch) / stride) + 1 for side in sides)


def denoiser_of_cost(budget: int, shape: Sequence[int]) -> Denoiser:
    """The widest denoiser that takes at most `budget` multiply-adds an image of `shape`."""
    width = 1
    while multiply_adds(Denoiser(width + 1, shape[0]), shape) <= budget:
        width += 1
    return Denoiser(width, shape[0])


def save_opponent(path: Path, network: nn.Module, about: dict[str, Any]) -> None:
    """Write weights, the network's `spec`, and what else is to be known of it."""
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
    save_tensors(path, arrays, {"spec": network.spec, **about})


def load_opponent(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """What `save_opponent` wrote: the network in eval mode on the CPU, and what is known of it.

    Raises:
        ModelFormatError: the file is damaged, or holds another kind of network.
    """
    arrays, about = load_tensors(path)
    spec = dict(about.get("spec") or {})
    kind = KINDS.get(spec.pop("kind", ""))
    if kind is None:
        raise ModelFormatError(f"{path}: expected one of the networks {sorted(KINDS)}")
    try:
        network = kind(**spec)
        network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelFormatError(f"{path}: the weights do not fit the network ({error})") from error
    return network.eval(), about


def load_denoiser(path: Path) -> nn.Module:
    """The denoiser that `save_opponent` wrote, in eval mode on the CPU.

    Raises:
        ModelFormatError: the file is damaged, or holds another kind of network.
    """
    network, _ = load_opponent(path)
    if not isinstance(network, Denoiser):
        raise ModelFormatError(f"{path}: expected a denoiser, got another kind of network")
    return network
