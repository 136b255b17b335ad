# SPDX-License-Identifier: Apache-2.0
"""A dataset, batch by batch, on the device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor

from ..data import Dataset


@dataclass(frozen=True)
class Batch:
    """Some images of the dataset, on the device.

    Attributes:
        start: how many images came before.
        positions: int64 [batch], in the dataset.
        images: float [batch, 3, height, width] in [0, 1].
        labels: int64 [batch].
    """

    start: int
    positions: np.ndarray
    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.positions)

    def first(self, sample: int | None) -> Batch:
        """The part of it that is among the first `sample` images; all of it for None."""
        if sample is None or self.start + len(self) <= sample:
            return self
        count = max(0, sample - self.start)
        return Batch(self.start, self.positions[:count], self.images[:count], self.labels[:count])

    @property
    def identity(self) -> str:
        """SHA-256 of pixels and labels."""
        digest = sha256(self.images.cpu().numpy().tobytes())
        digest.update(self.labels.cpu().numpy().tobytes())
        return digest.hexdigest()


def batches(
    dataset: Dataset, positions: np.ndarray, batch: int, device: str | torch.device
) -> Iterator[Batch]:
    """The images at `positions` (int64 [n]) of a dataset, `batch` at a time."""
    for start in range(0, len(positions), batch):
        chosen = positions[start : start + batch]
        images = torch.from_numpy(dataset.images[chosen]).to(device).float().div_(255)
        yield Batch(start, chosen, images, torch.from_numpy(dataset.labels[chosen]).to(device))
