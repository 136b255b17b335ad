# SPDX-License-Identifier: Apache-2.0
"""A residual network in use: normalisations folded into the convolutions, one flat pass, no training."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from . import _core
from .networks import Block, ResNet


@dataclass(frozen=True)
class _Convolution:
    """A convolution and the normalisation after it."""

    weight: Tensor
    bias: Tensor
    stride: tuple[int, ...]
    padding: tuple[int, ...]

    @classmethod
    def of(cls, conv: nn.Module, norm: nn.Module) -> "_Convolution":
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        folded = fuse_conv_bn_eval(copy.deepcopy(conv).eval(), copy.deepcopy(norm).eval())
        assert folded.bias is not None and isinstance(folded.padding, tuple)
        # The CPU's convolutions want the channels last.
        weight = folded.weight.detach().contiguous(memory_format=torch.channels_last)
        return cls(weight, folded.bias.detach(), folded.stride, folded.padding)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.conv2d(x, self.weight, self.bias, self.stride, self.padding)

    def packed(self) -> tuple[Tensor, Tensor, int]:
        return self.weight.contiguous(), self.bias, self.stride[0]


@dataclass(frozen=True)
class _FoldedBlock:
    first: _Convolution
    second: _Convolution
    shortcut: _Convolution | None

    @classmethod
    def of(cls, block: nn.Module) -> "_FoldedBlock":
        assert isinstance(block, Block)
        shortcut = _Convolution.of(block.shortcut[0], block.shortcut[1]) if len(block.shortcut) else None
        return cls(
            _Convolution.of(block.conv1, block.norm1), _Convolution.of(block.conv2, block.norm2), shortcut
        )

    def __call__(self, x: Tensor) -> Tensor:
        out = self.second(self.first(x).relu_())
        return out.add_(x if self.shortcut is None else self.shortcut(x)).relu_()

    def packed(self) -> tuple[Any, Any, Any]:
        shortcut = None if self.shortcut is None else self.shortcut.packed()
        return self.first.packed(), self.second.packed(), shortcut


@dataclass(frozen=True)
class FoldedNetwork:
    """A `ResNet` in eval mode, up to rounding, in less time; it keeps copies of the weights.

    It is no module: for one image, the calls of modules take a tenth of the time of its convolutions.
    """

    mean: Tensor
    std: Tensor
    stem: _Convolution
    pooling: nn.Module | None
    blocks: tuple[_FoldedBlock, ...]
    head: tuple[Tensor, Tensor]
    """Weight and bias of the logits."""

    @classmethod
    @torch.no_grad()
    def of(cls, net: ResNet) -> "FoldedNetwork":
        """The folded form of a network as it is at this moment."""
        return cls(
            net.mean.clone(),
            net.std.clone(),
            _Convolution.of(net.stem[0], net.stem[1]),
            None if isinstance(net.stem[3], nn.Identity) else copy.deepcopy(net.stem[3]),
            tuple(_FoldedBlock.of(block) for block in net.blocks),
            (net.head.weight.detach().clone(), net.head.bias.detach().clone()),
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Logits [batch, classes] of images [batch, channels, height, width] in [0, 1]."""
        return functional.linear(self.latents(images), *self.head)

    def latents(self, images: Tensor) -> Tensor:
        """Latents [batch, latent] of images [batch, channels, height, width] in [0, 1]."""
        x = self.stem((images - self.mean) / self.std).relu_()
        if self.pooling is not None:
            x = self.pooling(x)
        for block in self.blocks:
            x = block(x)
        return x.mean((2, 3))

    def packed(self) -> _core.PackedNetwork:
        """The network as the operator `encode` takes it, for float32 images on the CPU."""
        return _core.PackedNetwork(
            self.mean.flatten(),
            self.std.flatten(),
            self.stem.packed(),
            self.pooling is not None,
            [block.packed() for block in self.blocks],
        )
