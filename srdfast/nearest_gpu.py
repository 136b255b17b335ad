# SPDX-License-Identifier: Apache-2.0
"""The nearest cluster of latents that lie on a GPU; nothing of them passes through the host."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .clusters import Floats
from .errors import DeviceError
from .likelihood import assign
from .nearest import CANDIDATES, NearestCluster

TEMPORARY = 64 << 20  # bytes that a faiss index takes for its searches; by default it would take 1.5 GiB


class NearestOnGpu:
    """`NearestCluster` for tensors, with the same engines.

    "assign" is the native kernel in float32: the cluster is that of `NearestCluster` wherever the two best
    differ by more than rounding. "faiss" and "product" search the inner product and compare the few best in
    float64, with the same answers as there. "auto" passes over a faiss without GPUs.

    Args:
        nearest: the clusters and the engine.
        device: where the latents lie.

    Raises:
        DeviceError: the engine is "faiss", and the one that is installed has no GPUs.
    """

    def __init__(self, nearest: NearestCluster, device: torch.device) -> None:
        def moved(array: np.ndarray) -> Tensor:
            return torch.from_numpy(array).to(device)

        self.engine = _engine(nearest)
        self._tables = nearest.tables.like(torch.empty(0, device=device))
        form = nearest.form
        self._centre, self._scale = moved(form.centre), moved(form.scale)
        self._vectors, self._distinct = moved(form.vectors), moved(form.distinct)
        self._means, self._variances, self._offsets = map(
            moved, (nearest.means, nearest.variances, nearest.tables.offsets)
        )
        if self.engine == "faiss":
            self._index = FlatIndex(form.vectors, lambda: gpu_index(form.vectors.shape[1], device))

    def __call__(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """The most likely cluster of latents [n, latent], int64 [n], and its log-likelihood, float32 [n]."""
        if self.engine == "assign":
            found = assign(latents.float(), self._tables, nonfinite=None)
            return found.index.long(), found.log_likelihood
        candidates = self._search(latents)  # [n, candidates]
        away = latents.double()[:, None] - self._means[candidates]
        exact = self._offsets[candidates] - 0.5 * (away**2 / self._variances[candidates]).sum(2)
        likelihood, place = exact.max(1)
        return candidates.gather(1, place[:, None])[:, 0], likelihood.float()

    def _search(self, latents: Tensor) -> Tensor:
        """The few best clusters by the inner product, ascending: int64 [n, candidates]."""
        scaled = ((latents.double() - self._centre) / self._scale).float()  # [n, latent]
        terms = torch.cat([scaled**2, scaled, torch.ones_like(scaled[:, :1])], dim=1)
        count = min(CANDIDATES, len(self._distinct))
        if self.engine == "faiss":
            found = self._index.search(terms, count)
        else:
            found = (terms @ self._vectors.T).topk(count, dim=1).indices
        return self._distinct[found].sort(dim=1).values


def _engine(nearest: NearestCluster) -> str:
    if nearest.engine != "faiss" or faiss_has_gpus():
        return nearest.engine
    if nearest.automatic:
        return "assign"
    raise DeviceError(
        'lookup: expected a faiss with GPUs for "faiss", got one that computes on the CPU alone; install the '
        'faiss-cuda of torch\'s CUDA in its place, or use "assign"'
    )


class FlatIndex:
    """A flat inner-product index of faiss for each thread that asks: one of them serves no two at a time.

    Args:
        vectors: float32 [clusters, terms].
        make: makes an empty index.
    """

    def __init__(self, vectors: Floats, make: Callable[[], Any]) -> None:
        self._vectors, self._make = vectors, make
        self._of_thread = threading.local()

    def search(self, terms: Tensor, count: int) -> Tensor:
        """The `count` vectors with the largest inner products, int64 [n, count], on the current stream."""
        import faiss.contrib.torch_utils  # noqa: F401 (makes indices take tensors)

        index = getattr(self._of_thread, "index", None)
        if index is None:
            index = self._of_thread.index = self._make()
            index.add(self._vectors)
        return index.search(terms.contiguous(), count)[1]


def gpu_index(terms: int, device: torch.device) -> Any:
    """An empty flat index in the GPU's memory, with resources of its own."""
    import faiss

    resources = faiss.StandardGpuResources()
    resources.setTempMemory(TEMPORARY)
    config = faiss.GpuIndexFlatConfig()
    config.device = device.index
    return faiss.GpuIndexFlatIP(resources, terms, config)


def faiss_has_gpus() -> bool:
    """Whether the installed faiss computes on GPUs and sees one."""
    import faiss

    return hasattr(faiss, "GpuIndexFlatIP") and faiss.get_num_gpus() > 0
