# SPDX-License-Identifier: Apache-2.0
"""Convolutional basis pursuit in torch: a rival that runs wherever torch does.

SPORCO's ConvBPDN has a GPU form that needs cupy. This is the same problem by the same published algorithm,
ADMM in the Fourier domain (Wohlberg 2014; the channels' systems by the matrix inversion lemma, Wohlberg
2016), without its adaptive penalty parameter: a stand-in where cupy is missing, and a check where it is not.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fft import irfft2, rfft2


class ConvAdmm:
    """min over x: 1/2 |sum_m d_m * x_m - s|^2 + penalty |x|_1, periodic, for a batch of images.

    Args:
        filters: d, [filters, channels, side, side].
        images: s, [batch, channels, height, width].
        penalty: above 0.
    """

    RELAXATION = 1.8

    def __init__(self, filters: Tensor, images: Tensor, penalty: float) -> None:
        self.images, self.penalty, self.size = images, penalty, images.shape[-2:]
        self.rho = 50 * penalty + 1
        self.filters = rfft2(filters, self.size)  # [filters, channels, height, width / 2 + 1]
        identity = torch.eye(images.shape[1], device=images.device)
        gram = torch.einsum("mchw,mdhw->hwcd", self.filters, self.filters.conj())
        self.inverse = torch.linalg.inv(gram + self.rho * identity)
        self.products = torch.einsum("mchw,nchw->nmhw", self.filters.conj(), rfft2(images))
        self.codes = images.new_zeros(len(images), len(filters), *self.size)
        self.dual = torch.zeros_like(self.codes)

    def run(self, steps: int) -> Tensor:
        """Codes [batch, filters, height, width] after so many further steps."""
        for _ in range(steps):
            self._step()
        return self.codes

    def _step(self) -> None:
        right = self.products + self.rho * rfft2(self.codes - self.dual)
        mixed = torch.einsum("hwcd,mdhw,nmhw->nchw", self.inverse, self.filters, right)
        dense = irfft2(
            (right - torch.einsum("mchw,nchw->nmhw", self.filters.conj(), mixed)) / self.rho, self.size
        )
        relaxed = self.RELAXATION * dense + (1 - self.RELAXATION) * self.codes + self.dual
        self.codes = torch.nn.functional.softshrink(relaxed, self.penalty / self.rho)
        self.dual = relaxed - self.codes

    def rebuilt(self, codes: Tensor) -> Tensor:
        """Images [batch, channels, height, width] of codes."""
        return irfft2(torch.einsum("mchw,nmhw->nchw", self.filters, rfft2(codes)), self.size)

    def objective(self, codes: Tensor) -> float:
        """The mean over the images of what is minimised."""
        residual = self.rebuilt(codes) - self.images
        total = 0.5 * residual.square().sum() + self.penalty * codes.abs().sum()
        return float(total) / len(self.images)
