# SPDX-License-Identifier: Apache-2.0
"""Dictionaries in LISTA form that gradients flow through, and where their training starts."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ..bank import SRDBank
from ..clusters import Gaussians
from ..codes import LISTA
from ..coding import split
from ..planes import through_planes
from ..torch_ops import rebuild

RIDGE = 0.05  # of the dual frame that the analysis atoms start from, relative to the mean eigenvalue
FIRST_THRESHOLD = 0.01  # thresholds start here, a small share of a code
STEPS = 3  # of shrinkage, where nothing else is said


class LearnedDictionaries(nn.Module):
    """The trainable parts of a bank of LISTA dictionaries."""

    def __init__(self, bank: SRDBank) -> None:
        super().__init__()
        if bank.analysis is None or bank.thresholds is None:
            raise ValueError("bank: expected one with analysis atoms and thresholds")
        self.bank = bank
        self.synthesis = nn.Parameter(torch.from_numpy(bank.synthesis.copy()))
        self.analysis = nn.Parameter(torch.from_numpy(bank.analysis.copy()))
        self.thresholds = nn.Parameter(torch.from_numpy(bank.thresholds.copy()))

    def forward(self, images: Tensor, index: Tensor | None) -> Tensor:
        """Purified images [batch, channels, height, width] by dictionaries `index` [batch]."""
        bank = self.bank
        if images.shape[1] != bank.channels:

            def plane_by_plane(planes: Tensor, n: int) -> Tensor:
                return self(planes, None if index is None else index.repeat(n))

            return through_planes(images, plane_by_plane)
        parts = (self.synthesis, bank.coder, self.analysis, self.thresholds.relu())
        with torch.autocast(images.device.type, enabled=False):
            low, high = split(images, bank.split_strength)
            return (low + rebuild(high, *parts, index, bank.patch, bank.stride)).clamp(0, 1)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Copies of synthesis atoms, analysis atoms and thresholds."""
        tensors = (self.synthesis, self.analysis, self.thresholds.relu())
        synthesis, analysis, thresholds = (tensor.detach().cpu().numpy().copy() for tensor in tensors)
        return synthesis, analysis, thresholds

    def trained(self) -> SRDBank:
        """The bank with what was learned."""
        synthesis, analysis, thresholds = self.arrays()
        return replace(self.bank, synthesis=synthesis, analysis=analysis, thresholds=thresholds)


def dual_frame(dictionary: np.ndarray) -> np.ndarray:
    """Analysis atoms E with x E^T D close to x: E = D (D^T D + ridge)^-1, [..., atoms, features]."""
    frame = np.swapaxes(dictionary, -1, -2) @ dictionary.astype(np.float64)  # [..., features, features]
    mean = np.trace(frame, axis1=-2, axis2=-1)[..., None, None] / frame.shape[-1]
    inverse = np.linalg.inv(frame + RIDGE * mean * np.eye(frame.shape[-1]))
    return (dictionary @ inverse).astype(np.float32)


def lista_start(bank: SRDBank, steps: int) -> SRDBank:
    """`bank` in LISTA form: its atoms, their dual frame, small thresholds."""
    return replace(
        bank,
        coder=LISTA(steps),
        analysis=dual_frame(bank.synthesis),
        thresholds=np.full(bank.synthesis.shape[:2], FIRST_THRESHOLD, np.float32),
    )


def carried_on(bank: SRDBank, steps: int | None, split_strength: float) -> SRDBank:
    """Dictionaries in LISTA form, after a split of that strength and with so many steps, if any are given."""
    assert isinstance(bank.coder, LISTA)
    return replace(bank, coder=LISTA(steps or bank.coder.steps), split_strength=split_strength)


def everywhere_of(bank: SRDBank) -> SRDBank:
    """One dictionary for all clusters together: the bank's own of all images, or the mean of the others."""
    if bank.general is not None:
        return bank.of_all()
    return bank.with_each(lambda _, part: part.mean(0, keepdims=True), gaussians=bank.gaussians.together())


def copies(everywhere: SRDBank, gaussians: Gaussians) -> SRDBank:
    """The one dictionary of `everywhere` in each of the clusters."""
    return everywhere.with_each(lambda _, part: np.repeat(part, len(gaussians), axis=0), gaussians=gaussians)
