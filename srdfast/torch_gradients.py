# SPDX-License-Identifier: Apache-2.0
"""The gradients of the operators in torch's library, exact for the support or the cluster that was chosen.

`split`, `extract_patches` and `average_patches` are linear, and their adjoints are made of themselves.
LISTA is differentiated through its steps, OMP and the lasso on the support that they chose; the dictionaries
of these two get no gradient. Nor do the tables of `assign`, margins and duality gaps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_ops = torch.ops.srdfast


@dataclass(frozen=True)
class Gradient:
    """How an operator is differentiated, as torch.library.register_autograd wants it."""

    keep: Callable[..., None]
    """keep(ctx, inputs, output) saves what the gradient needs."""
    backward: Callable[..., Any]
    """backward(ctx, *gradients of the results) returns the gradients of the inputs."""


# --- split and patches: linear ------------------------------------------------------------------------------


def _keep_split(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, ctx.strength = inputs


def _split(ctx: Any, grad_low: Tensor, grad_high: Tensor) -> tuple[Tensor, None]:
    """The low band is S x with S symmetric, the high band x - S x."""
    return _ops.split(grad_low - grad_high, ctx.strength)[0] + grad_high, None


def _keep_extract(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    images, ctx.patch, ctx.stride = inputs
    ctx.shape = images.shape


def _extract(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    """The adjoint adds patches up where the average divides by how many there are."""
    average = _ops.average_patches(grad, ctx.shape[1:], ctx.patch, ctx.stride)
    return average * coverage(average, ctx.patch, ctx.stride), None, None


def _keep_average(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, _, ctx.patch, ctx.stride = inputs


def _average(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    """The adjoint of adding patches up and dividing is dividing and extracting."""
    return _ops.extract_patches(_spread(grad, ctx), ctx.patch, ctx.stride), None, None, None


def _spread(grad: Tensor, ctx: Any) -> Tensor:
    return grad / coverage(grad, ctx.patch, ctx.stride)


def coverage(images: Tensor, patch: int, stride: int) -> Tensor:
    """How many patches cover each pixel of images [..., height, width]: [height, width]."""
    rows, columns = (_axis_coverage(length, patch, stride, images.device) for length in images.shape[-2:])
    return (rows[:, None] * columns).to(images.dtype)


def _axis_coverage(length: int, patch: int, stride: int, device: torch.device) -> Tensor:
    """Patches start at 0, stride, 2 stride, ..., and one more lies flush with the end."""
    pixels = torch.arange(length, device=device)
    last = (length - patch) // stride
    starts_before = (pixels.div(stride, rounding_mode="floor") + 1).clamp(max=last + 1)  # or at the pixel
    ended = ((pixels - patch).div(stride, rounding_mode="floor") + 1).clamp(min=0, max=last + 1)
    covered = starts_before - ended
    return covered if (length - patch) % stride == 0 else covered + (pixels >= length - patch).to(covered)


# --- coders -------------------------------------------------------------------------------------------------


def _keep_omp(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, dictionary, index, *_ = inputs
    ctx.save_for_backward(dictionary, index, output[1])


def _omp(ctx: Any, grad: Tensor, *_: Any) -> tuple[Any, ...]:
    dictionary, index, indices = ctx.saved_tensors
    return _ops.support_gradient(grad, indices, dictionary, index, False), *[None] * 5


def _keep_lasso(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, dictionary, index, *_ = inputs
    values, gap = output
    ctx.mark_non_differentiable(gap)
    ctx.save_for_backward(dictionary, index, values)


def _lasso(ctx: Any, grad: Tensor, *_: Any) -> tuple[Any, ...]:
    dictionary, index, values = ctx.saved_tensors
    return _ops.support_gradient(grad, values, dictionary, index, False), *[None] * 5


def _keep_lista(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.steps = inputs
    ctx.save_for_backward(*tensors)


def _lista(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    signals, analysis, thresholds, synthesis, index = ctx.saved_tensors
    learned = any(ctx.needs_input_grad[1:4])
    gradients = _ops.lista_gradient(
        grad, signals, analysis, thresholds, synthesis, index, ctx.steps, False, learned
    )
    return *_wanted(ctx, gradients), None, None


def _wanted(ctx: Any, gradients: tuple[Tensor, ...]) -> list[Tensor | None]:
    return [
        grad if wanted else None
        for grad, wanted in zip(gradients, ctx.needs_input_grad[: len(gradients)], strict=True)
    ]


# --- the fused purification ---------------------------------------------------------------------------------


def _keep_purify(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    images, dictionary, index, *ctx.settings, ctx.patch, ctx.stride = inputs
    ctx.save_for_backward(images, dictionary, index)


def _purify_omp(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    images, dictionary, index = ctx.saved_tensors
    patches, of_patch = _patches(ctx, images, index)
    indices = _ops.omp(patches, dictionary, of_patch, *ctx.settings)[1]
    return _projected(ctx, grad, indices), *[None] * 7


def _purify_lasso(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    images, dictionary, index = ctx.saved_tensors
    patches, of_patch = _patches(ctx, images, index)
    values = _ops.lasso(patches, dictionary, of_patch, *ctx.settings)[0]
    return _projected(ctx, grad, values), *[None] * 7


def _projected(ctx: Any, grad: Tensor, support: Tensor) -> Tensor:
    """Averaging, projecting every patch on its support and cutting patches out, each taken back."""
    images, dictionary, index = ctx.saved_tensors
    vectors, of_patch = _patches(ctx, _spread(grad, ctx), index)
    return _gathered(ctx, _ops.support_gradient(vectors, support, dictionary, of_patch, True), images)


def _keep_purify_lista(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.steps, ctx.patch, ctx.stride = inputs
    ctx.save_for_backward(*tensors)


def _purify_lista(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    images, analysis, thresholds, synthesis, index = ctx.saved_tensors
    vectors, of_patch = _patches(ctx, _spread(grad, ctx), index)
    patches, _ = _patches(ctx, images, index)
    of_patches, *of_learned = _ops.lista_gradient(
        vectors, patches, analysis, thresholds, synthesis, of_patch, ctx.steps, True,
        any(ctx.needs_input_grad[1:4]),
    )  # fmt: skip
    of_images = _gathered(ctx, of_patches, images)
    return *_wanted(ctx, (of_images, *of_learned)), None, None, None, None


def _patches(ctx: Any, images: Tensor, index: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Patches [batch * count, features] of images, and the dictionary of each."""
    patches = _ops.extract_patches(images, ctx.patch, ctx.stride)
    of_patch = None if index is None else index[:, None].expand(patches.shape[:2]).reshape(-1)
    return patches.flatten(0, 1), of_patch


def _gathered(ctx: Any, patches: Tensor, images: Tensor) -> Tensor:
    """The adjoint of cutting images into patches [batch * count, features]."""
    batch, *shape = images.shape
    patches = patches.reshape(batch, -1, patches.shape[-1]) if batch else patches.reshape(0, 0, 0)
    average = _ops.average_patches(patches, shape, ctx.patch, ctx.stride)
    return average * coverage(average, ctx.patch, ctx.stride)


# --- assign -------------------------------------------------------------------------------------------------


def _keep_assign(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    latents, centre, scales, shifts, _ = inputs
    _, margin, index = output
    ctx.mark_non_differentiable(margin)
    ctx.save_for_backward(latents, centre, scales, shifts, index)


def _assign(ctx: Any, grad: Tensor, *_: Any) -> tuple[Any, ...]:
    """The slope of log density: (mean - z) / variance, in the cluster that was chosen."""
    latents, centre, scales, shifts, index = ctx.saved_tensors
    own_scales, own_shifts = (table.T[index.long()] for table in (scales, shifts))  # [batch, latent]
    slopes = -2 * own_scales * (own_scales * (latents - centre) - own_shifts)
    return (grad[:, None] * slopes).to(latents.dtype), None, None, None, None


# --- on the support of a code -------------------------------------------------------------------------------


def _keep_support(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, support, dictionary, index, ctx.rebuilt = inputs
    ctx.save_for_backward(support, dictionary, index)


def _support(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    """Reconstructions are projections, each its own adjoint; that of codes gives the codes themselves."""
    if ctx.rebuilt:
        adjoint = _ops.support_gradient(grad, *ctx.saved_tensors, True)
    else:
        adjoint = _ops.support_codes(grad, *ctx.saved_tensors)
    return adjoint, *[None] * 4


def _keep_support_codes(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs[1:])


def _support_codes(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return _ops.support_gradient(grad, *ctx.saved_tensors, False), *[None] * 3


SPLIT = Gradient(_keep_split, _split)
EXTRACT = Gradient(_keep_extract, _extract)
AVERAGE = Gradient(_keep_average, _average)
OMP_CODES = Gradient(_keep_omp, _omp)
LASSO_CODES = Gradient(_keep_lasso, _lasso)
LISTA_CODES = Gradient(_keep_lista, _lista)
PURIFY_OMP = Gradient(_keep_purify, _purify_omp)
PURIFY_LASSO = Gradient(_keep_purify, _purify_lasso)
PURIFY_LISTA = Gradient(_keep_purify_lista, _purify_lista)
ASSIGN = Gradient(_keep_assign, _assign)
SUPPORT = Gradient(_keep_support, _support)
SUPPORT_CODES = Gradient(_keep_support_codes, _support_codes)
