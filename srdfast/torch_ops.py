# SPDX-License-Identifier: Apache-2.0
"""The operators as differentiable torch functions: forward by the native kernels, gradients exact.

They are those of torch's library (`torch_library`), under the names and coders of the array functions.
"""

import torch
from torch import Tensor

from . import coding, torch_library  # noqa: F401 (registers the operators)
from .codes import LISTA, OMP, Coder, Lasso, LassoCodes, ListaCodes, OMPCodes


def split(images: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """`srdfast.split` with its gradient."""
    low, high = torch.ops.srdfast.split(images, strength)
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
        index: integers [batch], the dictionary of each image; None where there is one.
        patch: side of a patch in pixels.
        stride: from 1 to `patch`.

    Returns:
        [batch, channels, height, width].
    """
    ops = torch.ops.srdfast
    if isinstance(coder, LISTA):
        if analysis is None or thresholds is None:
            raise ValueError("analysis, thresholds: expected tensors for the coder LISTA, got None")
        return ops.purify_lista(images, analysis, thresholds, dictionary, index, coder.steps, patch, stride)
    if isinstance(coder, OMP):
        settings = coder.max_atoms, float(coder.tolerance), coder.selection
        return ops.purify_omp(images, dictionary, index, *settings, patch, stride)
    limits = float(coder.penalty), float(coder.gap_tolerance), coder.max_sweeps
    return ops.purify_lasso(images, dictionary, index, *limits, patch, stride)


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
