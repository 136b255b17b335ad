# SPDX-License-Identifier: Apache-2.0
"""How images were purified: what a caller who asks is told."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import coding, torch_ops
from .arrays import Array
from .bank import SRDBank
from .codes import LassoCodes, OMPCodes
from .planes import luma_of

PATCHES_TOGETHER = 16384  # patches whose codes are held at once

Dictionaries = tuple[Tensor, Any, Tensor | None, Tensor | None]
"""Synthesis atoms, coder, and for LISTA analysis atoms and thresholds."""


@dataclass(frozen=True)
class PurifyInfo:
    """How each image of a batch was purified."""

    clusters: Array
    """int64 [batch], the likeliest cluster, whose dictionary rebuilt the image, or what was given."""
    log_likelihood: Array
    """float32 [batch], log prior + log density of its latent there; NaN in the dictionary of all images."""
    share: Array
    """float32 [batch] in [0, 1], its share of the output; the rest is by the dictionary of all images."""
    atoms_used: Array
    """float32 [batch], atoms with a non-zero code in that dictionary, mean over the patches."""
    gap: Array | None
    """float32 [batch], the largest duality gap of a patch; None unless the coder is the lasso."""


def count_atoms(
    batch: Tensor, index: Tensor, bank: SRDBank, dictionaries: Dictionaries
) -> tuple[Tensor, Tensor | None]:
    """Mean atoms used by a patch [batch], and the largest gap [batch] where the coder certifies one.

    Of RGB in one-channel dictionaries, those of the luma.

    Args:
        batch: floating [batch, channels, height, width].
        index: int64 [batch], the dictionary of each image.
        bank: the geometry of the patches and the strength of the split.
        dictionaries: synthesis atoms, coder, and for LISTA analysis atoms and thresholds.
    """
    if batch.shape[1] != bank.channels:
        batch = luma_of(batch)
    synthesis, coder, analysis, thresholds = dictionaries
    _, high = coding.split(batch, bank.split_strength)
    used, gaps = [], []
    blank = high.new_zeros(1, *high.shape[1:])
    per_image = coding.extract_patches(blank, bank.patch, bank.stride).shape[1]
    images_together = max(1, PATCHES_TOGETHER // max(1, per_image))
    for rows in torch.arange(len(batch)).split(images_together):
        patches = coding.extract_patches(high[rows], bank.patch, bank.stride)
        flat, of_patch = patches.flatten(0, 1), index[rows].repeat_interleave(per_image)
        codes = torch_ops.encode(flat, synthesis, coder, of_patch, analysis, thresholds)
        counts = codes.counts if isinstance(codes, OMPCodes) else (codes.values != 0).sum(1)
        used.append(counts.reshape(len(rows), per_image).float().mean(1))
        if isinstance(codes, LassoCodes):
            gaps.append(codes.gap.reshape(len(rows), per_image).float().amax(1))
    empty = batch.new_empty(0)
    return torch.cat(used or [empty]), torch.cat(gaps) if gaps else None
