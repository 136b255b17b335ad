# SPDX-License-Identifier: Apache-2.0
"""The operators as differentiable torch functions: forward by the native kernels, gradients exact.

`split`, `extract_patches` and `average_patches` are linear, and their adjoints are made of themselves. A
coder's reconstruction is differentiated through the steps of LISTA, and on the chosen support for OMP and the
lasso: there a patch's reconstruction moves like its orthogonal projection on the span of the chosen atoms.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from . import coding
from .codes import LISTA, OMP, Coder, Lasso, LassoCodes, ListaCodes, OMPCodes

RIDGE_ROUNDINGS = 16  # keeps a support with equal atoms solvable, at the price of a few roundings
PATCHES_TOGETHER = 2048  # bounds the memory of the systems that project on supports


class _Split(Function):
    """low = S x with S symmetric, high = x - S x."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        ctx.strength = strength
        return coding.split(images, strength)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_low: Tensor, grad_high: Tensor) -> tuple[Tensor, None]:
        return coding.split(grad_low - grad_high, ctx.strength)[0] + grad_high, None


class _Extract(Function):
    """The adjoint adds patches up where the average divides by how many there are."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, patch: int, stride: int) -> Tensor:
        ctx.shape, ctx.patch, ctx.stride = images.shape, patch, stride
        return coding.extract_patches(images, patch, stride)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        average = coding.average_patches(grad, tuple(ctx.shape[1:]), ctx.patch, ctx.stride)
        return average * coverage(average, ctx.patch, ctx.stride), None, None


class _Average(Function):
    """The adjoint of adding patches up and dividing is dividing and extracting."""

    @staticmethod
    def forward(ctx: Any, patches: Tensor, shape: tuple[int, int, int], patch: int, stride: int) -> Tensor:
        ctx.patch, ctx.stride = patch, stride
        return coding.average_patches(patches, shape, patch, stride)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        spread = grad / coverage(grad, ctx.patch, ctx.stride)
        return coding.extract_patches(spread, ctx.patch, ctx.stride), None, None, None


class _ProjectedReconstruction(Function):
    """Codes patches by OMP or the lasso; the gradient is projected on the span of each patch's support."""

    @staticmethod
    def forward(ctx: Any, patches: Tensor, dictionary: Tensor, index: Tensor | None, coder: Coder) -> Tensor:
        coded = encode(patches, dictionary, coder, index)
        ctx.save_for_backward(coded.dense() != 0, dictionary)
        ctx.index = index
        return coded.reconstruct(dictionary, index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        support, dictionary = ctx.saved_tensors
        index = ctx.index if ctx.index is not None else torch.zeros(len(grad), dtype=torch.int64)
        projected = [
            _project(grad[rows], support[rows], dictionary, index[rows])
            for rows in torch.arange(len(grad)).split(PATCHES_TOGETHER)
        ]
        return torch.cat(projected) if projected else grad, None, None, None


def split(images: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """`srdfast.split` with its gradient."""
    low, high = _Split.apply(images, strength)
    return low, high


def rebuild(
    images: Tensor,
    dictionary: Tensor,
    coder: Coder,
    analysis: Tensor | None,
    thresholds: Tensor | None,
    index: Tensor | None,
    patch: int,
    stride: int,
) -> Tensor:
    """`srdfast.purify_patches` with its gradient; for LISTA also that of the atoms and thresholds.

    Args:
        images: the band to rebuild, [batch, channels, height, width].
        dictionary: synthesis atoms, [dictionaries, atoms, features].
        coder: how patches are coded.
        analysis: for LISTA, [dictionaries, atoms, features].
        thresholds: for LISTA, [dictionaries, atoms].
        index: int64 [batch], the dictionary of each image; None where there is one.
        patch: side of a patch in pixels.
        stride: from 1 to `patch`.

    Returns:
        [batch, channels, height, width].
    """
    patches = _Extract.apply(images, patch, stride)  # [batch, count, features]
    batch, count, features = patches.shape
    if isinstance(coder, LISTA):
        if analysis is None or thresholds is None:
            raise ValueError("analysis, thresholds: expected tensors for the coder LISTA, got None")
        rebuilt = lista_reconstruction(patches, analysis, thresholds, dictionary, coder.steps, index)
    else:
        of_patch = None if index is None else index.repeat_interleave(count)
        rebuilt = _ProjectedReconstruction.apply(patches.reshape(-1, features), dictionary, of_patch, coder)
        rebuilt = rebuilt.reshape(batch, count, features)
    return _Average.apply(rebuilt, tuple(images.shape[1:]), patch, stride)


def lista_reconstruction(
    patches: Tensor, analysis: Tensor, thresholds: Tensor, synthesis: Tensor, steps: int, index: Tensor | None
) -> Tensor:
    """What LISTA makes of patches [batch, count, features]; differentiable in every tensor.

    Args:
        patches: [batch, count, features].
        analysis: [dictionaries, atoms, features].
        thresholds: [dictionaries, atoms].
        synthesis: [dictionaries, atoms, features].
        steps: shrinkage steps.
        index: int64 [batch], the dictionary of each row of patches; None where there is one.
    """
    if index is None:
        chosen_analysis, chosen_thresholds, chosen_synthesis = analysis[0], thresholds[0], synthesis[0]
    else:
        # index_select, whose gradient is added up in one order; that of analysis[index] races between threads
        chosen_analysis, chosen_synthesis = (part.index_select(0, index) for part in (analysis, synthesis))
        chosen_thresholds = thresholds.index_select(0, index)[:, None, :]  # [batch, 1, atoms]
    rebuilt = torch.zeros_like(patches)
    codes = patches.new_zeros(())
    for _ in range(steps):
        moved = codes + (patches - rebuilt) @ chosen_analysis.mT  # [batch, count, atoms]
        codes = moved - moved.clamp(-chosen_thresholds, chosen_thresholds)
        rebuilt = codes @ chosen_synthesis
    return rebuilt


def encode(
    patches: Tensor,
    dictionary: Tensor,
    coder: Coder,
    index: Tensor | None,
    analysis: Tensor | None = None,
    thresholds: Tensor | None = None,
) -> OMPCodes | LassoCodes | ListaCodes:
    """Codes of patches [n, features] by any coder."""
    if isinstance(coder, OMP):
        return coding.omp(patches, dictionary, coder.max_atoms, coder.tolerance, coder.selection, index)
    if isinstance(coder, Lasso):
        return coding.lasso(patches, dictionary, coder.penalty, coder.gap_tolerance, coder.max_sweeps, index)
    return coding.lista(patches, analysis, thresholds, dictionary, coder.steps, index)


def coverage(images: Tensor, patch: int, stride: int) -> Tensor:
    """How many patches cover each pixel of images [..., height, width]: [height, width]."""
    rows, columns = (_axis_coverage(length, patch, stride) for length in images.shape[-2:])
    return (rows[:, None] * columns).to(images)


def _axis_coverage(length: int, patch: int, stride: int) -> Tensor:
    starts = torch.arange(0, length - patch + stride, stride).clamp_(max=length - patch)
    return torch.bincount((starts[:, None] + torch.arange(patch)).flatten(), minlength=length)


def _project(vectors: Tensor, support: Tensor, dictionary: Tensor, index: Tensor) -> Tensor:
    """Projections of vectors [n, features] on the spans of their atoms, support bool [n, atoms]."""
    most = int(support.sum(1).max()) if len(support) else 0
    if most == 0:
        return torch.zeros_like(vectors)
    chosen, order = support.to(torch.int8).sort(dim=1, descending=True, stable=True)
    chosen, order = chosen[:, :most, None].to(vectors), order[:, :most]
    atoms = dictionary[index[:, None], order] * chosen  # [n, most, features], zero where there is no atom
    gram = atoms @ atoms.mT + torch.diag_embed(1 - chosen[..., 0])
    gram.diagonal(dim1=-2, dim2=-1).mul_(1 + RIDGE_ROUNDINGS * torch.finfo(gram.dtype).eps)
    coefficients = torch.linalg.solve(gram, atoms @ vectors[..., None])  # [n, most, 1]
    return (atoms.mT @ coefficients)[..., 0]
