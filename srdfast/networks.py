# SPDX-License-Identifier: Apache-2.0
"""Residual networks that hand out their latents: the classifiers and encoders of every stage."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .errors import ModelFormatError
from .files import load_tensors, save_tensors

BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2)}


class Block(nn.Module):
    """Basic residual block (He et al. 2016, arXiv 1512.03385, figure 5 left)."""

    def __init__(self, channels: int, features: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, features, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(features)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(features)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != features:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, features, 1, stride, bias=False), nn.BatchNorm2d(features)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of x [batch, channels, height, width], with `stride` times fewer rows and columns."""
        out = functional.relu(self.norm1(self.conv1(x)), inplace=True)
        out = self.norm2(self.conv2(out)).add_(self.shortcut(x))
        return functional.relu(out, inplace=True)


class Normalised(nn.Module):
    """A network that normalises its images itself.

    Args:
        mean: per-channel mean of the training images, in [0, 1].
        std: per-channel standard deviation of the training images.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std):
            raise ValueError(f"std: expected one value a channel ({len(mean)}, as mean), got {len(std)}")
        for name, values in (("mean", mean), ("std", std)):
            moments = torch.tensor([float(value) for value in values]).view(1, -1, 1, 1)
            self.register_buffer(name, moments, persistent=False)

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Images [batch, channels, height, width], whose training images then have mean 0 and deviation 1."""
        return (images - self.mean) / self.std


class ResNet(Normalised):
    """Residual network on images in [0, 1]; it normalises them itself.

    Args:
        depth: 10 or 18 layers.
        width: features of the first stage; the latents have 8 x width features.
        classes: number of classes.
        stem: "small" (3x3 convolution, for images up to 64 pixels) or "large" (7x7 stride 2 and pooling).
        mean: per-channel mean of the training images, in [0, 1].
        std: per-channel standard deviation of the training images.
    """

    def __init__(
        self,
        depth: int = 18,
        width: int = 16,
        classes: int = 10,
        stem: str = "small",
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.25, 0.25, 0.25),
    ) -> None:
        super().__init__(mean, std)
        if depth not in BLOCKS:
            raise ValueError(f"depth: expected one of {sorted(BLOCKS)}, got {depth}")
        if stem not in ("small", "large"):
            raise ValueError(f"stem: expected 'small' or 'large', got {stem!r}")
        self.spec: dict[str, Any] = {
            "depth": depth,
            "width": width,
            "classes": classes,
            "stem": stem,
            "mean": [float(value) for value in mean],
            "std": [float(value) for value in std],
        }
        kernel, stride = (3, 1) if stem == "small" else (7, 2)
        self.stem = nn.Sequential(
            nn.Conv2d(len(mean), width, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Identity() if stem == "small" else nn.MaxPool2d(3, 2, padding=1),
        )
        blocks: list[nn.Module] = []
        channels = width
        for stage, count in enumerate(BLOCKS[depth]):
            for block in range(count):
                blocks.append(Block(channels, width << stage, 2 if stage and block == 0 else 1))
                channels = width << stage
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    @property
    def latent(self) -> int:
        """Number of latent features."""
        return self.head.in_features

    def latents(self, images: torch.Tensor) -> torch.Tensor:
        """Latents [batch, latent] of images [batch, channels, height, width] in [0, 1]."""
        return self.blocks(self.stem(self.normalise(images))).mean((2, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [batch, classes] of images [batch, channels, height, width] in [0, 1]."""
        return self.head(self.latents(images))


def tensors_of(module: nn.Module) -> list[torch.Tensor]:
    """Parameters and buffers of a module; `parameters()` itself is slow beside the latents of one image."""
    found: list[torch.Tensor] = []
    waiting = [module]
    while waiting:
        part = waiting.pop()
        found += [tensor for tensor in part._parameters.values() if tensor is not None]
        found += [tensor for tensor in part._buffers.values() if tensor is not None]
        waiting += [child for child in part._modules.values() if child is not None]
    return found


def build(spec: Mapping[str, Any]) -> ResNet:
    """The untrained network that a `ResNet.spec` describes."""
    return ResNet(**spec)


def save_network(
    path: Path | str, net: ResNet, extra: Mapping[str, Any] | None = None, dtype: str = "float32"
) -> None:
    """Write weights and specification; `dtype="float16"` halves the file (vectors stay float32)."""
    save_tensors(path, network_arrays(net, dtype), {"kind": "network", "spec": net.spec, **(extra or {})})


def network_arrays(net: ResNet, dtype: str = "float32") -> dict[str, np.ndarray]:
    """The weights by name; matrices and filters in `dtype`, vectors as they are."""
    weights = {name: tensor.detach().cpu().numpy() for name, tensor in net.state_dict().items()}
    return {
        name: array.astype(dtype) if array.ndim > 1 and array.dtype == np.float32 else array
        for name, array in weights.items()
    }


def load_network(path: Path | str) -> ResNet:
    """Read what `save_network` wrote; float32, in eval mode, on the CPU.

    Raises:
        ModelFormatError: not a network file, or its tensors do not fit its specification.
    """
    weights, metadata = load_tensors(path)
    if metadata.get("kind") != "network":
        raise ModelFormatError(f"{path}: expected a network file, got kind {metadata.get('kind')!r}")
    return network_from(weights, metadata.get("spec"), path)


def network_from(weights: Mapping[str, np.ndarray], spec: Any, source: Path | str) -> ResNet:
    """Build the network of `spec` with `weights`; `source` names the file in an error.

    Names and shapes are compared before anything is allocated.

    Raises:
        ModelFormatError: the weights do not fit the specification, or are not finite floats.
    """
    try:
        with torch.device("meta"):
            planned = {name: tuple(tensor.shape) or (1,) for name, tensor in build(spec).state_dict().items()}
        if planned != {name: array.shape or (1,) for name, array in weights.items()}:
            raise ValueError("names or shapes differ")
        for name, array in weights.items():
            whole = np.issubdtype(array.dtype, np.integer) and name.endswith("num_batches_tracked")
            if not whole and not (np.issubdtype(array.dtype, np.floating) and np.isfinite(array).all()):
                raise ValueError(f"{name} is not of finite floats")
        net = build(spec)
        net.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
    except (TypeError, ValueError, RuntimeError, AttributeError, OverflowError) as error:
        raise ModelFormatError(
            f"{source}: the tensors do not fit the network's specification ({error})"
        ) from error
    return net.eval()
