# SPDX-License-Identifier: Apache-2.0
"""The purification as one graph of tensor operators: what torch.compile and torch.export see.

The same steps as `Purifier.purify`, whose arithmetic they share, but nothing leaves the graph: the cluster is
chosen by `assign`, and images are checked by their shape and dtype alone. NaN and infinity are found by the
kernels, where those look for them.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import torch_ops
from .choice import Choice, choose, mixed
from .encoding import seen_by
from .planes import through_planes

if TYPE_CHECKING:
    from .purifier import Purifier


def purified(purifier: "Purifier", images: Tensor) -> Tensor:
    """Purified images [batch, channels, height, width], of the dtype of `images`.

    Args:
        purifier: whose bank, encoder and gradient mode are used.
        images: floating values in [0, 1], or uint8.
    """
    bank = purifier.bank
    channels = (bank.channels,) if bank.channels > 1 else (1, 3)
    if images.ndim != 4 or images.shape[1] not in channels:
        wanted = " or ".join(map(str, channels))
        raise ValueError(f"images: expected [batch, {wanted}, height, width], got {list(images.shape)}")
    if not (images.is_floating_point() or images.dtype == torch.uint8):
        raise TypeError(f"images: expected floating values in [0, 1] or uint8, got {images.dtype}")
    batch = _floating(images)
    fixed = batch.detach()
    exact = purifier.grad_mode == "exact"
    rebuilt = mixed(
        lambda some, index: _rebuilt(purifier, some, index),
        batch if exact else fixed,
        _choose(purifier, fixed),
        counted=False,  # a graph has fixed shapes
    )
    if purifier.grad_mode == "bpda" and torch.is_grad_enabled() and batch.requires_grad:
        rebuilt = IdentityGradient.apply(batch, rebuilt)
    if images.dtype == torch.uint8:
        return (rebuilt * 255).round().to(torch.uint8)
    return rebuilt.to(images.dtype)


def _floating(images: Tensor) -> Tensor:
    """Images in a dtype that is computed in."""
    if images.dtype == torch.uint8:
        return images.float() / 255
    return images if images.dtype in (torch.float32, torch.float64) else images.float()


def _choose(purifier: "Purifier", batch: Tensor) -> Choice:
    """The dictionaries of each image."""
    tables = purifier.tables()

    def look(images: Tensor) -> Tensor:
        seen = seen_by(purifier.encoder, images, purifier.image_size)
        return purifier.encoder.latents(seen.contiguous(memory_format=torch.channels_last))

    def likeliest(latents: Tensor) -> tuple[Tensor, Tensor]:
        likelihood, _, index = torch.ops.srdfast.assign(latents.to(tables[0].dtype), *tables)
        return index.long(), likelihood

    return choose(batch, look, likeliest, purifier.doubt(), purifier.mirror, counted=False)[0]


def _rebuilt(purifier: "Purifier", batch: Tensor, index: Tensor) -> Tensor:
    """Low + rebuilt high band, clipped."""
    bank = purifier.bank
    if batch.shape[1] != bank.channels:
        return through_planes(batch, lambda planes, n: _rebuilt(purifier, planes, index.repeat(n)))
    low, high = torch_ops.split(batch, float(bank.split_strength))
    rebuilt = torch_ops.rebuild(high, *purifier.dictionaries(batch.dtype), index, bank.patch, bank.stride)
    return (low + rebuilt).clamp(0, 1)


class IdentityGradient(torch.autograd.Function):
    """Returns the purified images; the gradient passes to the original ones unchanged."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, images: Tensor, rebuilt: Tensor) -> Tensor:
        """The purified images."""
        return rebuilt

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        """The gradient, to the images."""
        return gradient, None
