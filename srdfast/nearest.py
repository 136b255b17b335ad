# SPDX-License-Identifier: Apache-2.0
"""The nearest cluster of a latent: the most likely of the clusters' Gaussians."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .clusters import Floats, Gaussians, Integers
from .likelihood import assign

ENGINES = ("assign", "faiss", "product")
ASSIGNED = 1 << 16  # clusters x latent up to which the kernel is the engine of choice
CANDIDATES = 4  # best clusters by an inner product that are compared in float64
CHUNK = 4096


class NearestCluster:
    """The most likely cluster of a latent: argmax over clusters of log prior + log density.

    Three engines give the same answer; a tie goes to the lowest cluster, and nothing depends on the batch.
    "assign" is the native kernel, in float64. The two others take that sum as what it is, linear in
    [z^2, z, 1], so that the search is one inner product a cluster: "faiss" by a flat inner-product index,
    "product" by a matrix product, the oracle. It is taken after centring by the global mean and dividing by
    the global deviation, which keeps float32 from cancelling, and the few best clusters are then compared in
    float64, one latent at a time.

    "auto" is "assign" where clusters x latent is at most `ASSIGNED`, whatever the batch: its tables, a
    megabyte at most, then stay in the second-level cache, and batches take less time than by the others.
    Above, it is "faiss" where faiss is installed and otherwise "assign".

    Args:
        gaussians: the clusters.
        engine: "auto", "assign", "faiss" or "product".

    Raises:
        ValueError: another engine.
        ModuleNotFoundError: engine "faiss", which is not installed.
    """

    def __init__(self, gaussians: Gaussians, engine: str = "auto") -> None:
        if engine not in ("auto", *ENGINES):
            raise ValueError(f"engine: expected 'auto', 'assign', 'faiss' or 'product', got {engine!r}")
        self.automatic = engine == "auto"
        if self.automatic:
            few = gaussians.means.size <= ASSIGNED
            engine = "assign" if few or not find_spec("faiss") else "faiss"
        self.gaussians, self.engine = gaussians, engine
        self.tables, self.form = gaussians.tables(), InnerProducts.of(gaussians)
        self.means = gaussians.means.astype(np.float64)
        self.variances = gaussians.variances.astype(np.float64)
        self._index: Any = None
        if engine == "faiss":
            import faiss

            self._index = faiss.IndexFlatIP(self.form.vectors.shape[1])
            self._index.add(self.form.vectors)

    def __call__(self, latents: Floats) -> tuple[Integers, Floats]:
        """Most likely cluster of each latent.

        Args:
            latents: float32 [n, latent].

        Returns:
            Cluster, int64 [n], and log prior + log density there, float32 [n].
        """
        latents = self._checked(latents)
        choose = self._assign if self.engine == "assign" else self._search_and_compare
        clusters, likelihood = np.empty(len(latents), np.int64), np.empty(len(latents), np.float32)
        for start in range(0, len(latents), CHUNK):
            rows = slice(start, start + CHUNK)
            clusters[rows], likelihood[rows] = choose(latents[rows])
        return clusters, likelihood

    def within_class(self, latents: Floats, labels: Integers) -> tuple[Integers, Floats]:
        """The same, with each latent's choice restricted to the clusters of its own class.

        Args:
            latents: float32 [n, latent].
            labels: int64 [n], a class each.

        Raises:
            ValueError: a class has no cluster.
        """
        latents, labels = self._checked(latents), np.asarray(labels)
        if labels.shape != latents.shape[:1]:
            raise ValueError(f"labels: expected shape ({len(latents)},), one a latent, got {labels.shape}")
        missing = np.setdiff1d(labels, self.gaussians.labels)
        if missing.size:
            raise ValueError(f"labels: class {missing[0]} has no cluster")
        clusters, likelihood = np.empty(len(latents), np.int64), np.empty(len(latents), np.float32)
        for label in np.unique(labels):
            rows, members = labels == label, np.flatnonzero(self.gaussians.labels == label)
            exact = self._exact(latents[rows], np.broadcast_to(members, (rows.sum(), len(members))))
            best = exact.argmax(1)
            clusters[rows], likelihood[rows] = members[best], exact.max(1)
        return clusters, likelihood

    def scores(self, latents: Floats) -> Floats:
        """Log prior + log density under every cluster by the matrix product, float32 [n, clusters]."""
        scores = self.form.terms(self._checked(latents)) @ self.form.vectors.T  # [n, distinct]
        return scores[:, self.form.among_distinct]

    def _assign(self, latents: Floats) -> tuple[Integers, NDArray[np.float64]]:
        """Cluster and log-likelihood of each latent by the native kernel, in float64."""
        found = assign(latents.astype(np.float64), self.tables)
        return found.index.astype(np.int64), found.log_likelihood

    def _search_and_compare(self, latents: Floats) -> tuple[Integers, NDArray[np.float64]]:
        """The same by an inner-product search whose few best are compared in float64."""
        candidates = self._search(latents)
        exact = self._exact(latents, candidates)
        return candidates[np.arange(len(exact)), exact.argmax(1)], exact.max(1)

    def _search(self, latents: Floats) -> Integers:
        """The few best clusters by the inner product, ascending: int64 [n, candidates]."""
        count = min(CANDIDATES, len(self.form.distinct))
        if self._index is not None:
            found = self._index.search(self.form.terms(latents), count)[1]
        else:
            products = self.form.terms(latents) @ self.form.vectors.T
            found = np.argpartition(-products, count - 1, axis=1)[:, :count]
        return np.sort(self.form.distinct[found], axis=1)

    def _exact(self, latents: Floats, candidates: Integers) -> NDArray[np.float64]:
        """Log prior + log density of each latent under its candidates, float64 [n, candidates]."""
        distance = (latents[:, None, :] - self.means[candidates]) ** 2 / self.variances[candidates]
        return self.tables.offsets[candidates] - 0.5 * distance.sum(2)

    def _checked(self, latents: Floats) -> Floats:
        latents = np.asarray(latents, dtype=np.float32)
        if latents.ndim != 2 or latents.shape[1] != self.gaussians.latent:
            raise ValueError(f"latents: expected [n, {self.gaussians.latent}], got shape {latents.shape}")
        if not np.isfinite(latents).all():
            raise ValueError(
                "latents: expected finite values, got NaN or infinity; check the images and the encoder"
            )
        return latents


@dataclass(frozen=True)
class InnerProducts:
    """Log prior + log density under a cluster: the inner product of a vector with [z^2, z, 1], z scaled."""

    centre: NDArray[np.float64]
    """[latent], the mean over all clusters."""
    scale: NDArray[np.float64]
    """[latent], the deviation over all clusters."""
    vectors: Floats
    """[distinct, 2 * latent + 1], each once."""
    distinct: Integers
    """[distinct], the first cluster of each vector, ascending."""
    among_distinct: Integers
    """[clusters], where the vector of each cluster is."""

    @classmethod
    def of(cls, gaussians: Gaussians) -> "InnerProducts":
        """The form of some clusters."""
        tables = gaussians.tables()
        means, variances = gaussians.means.astype(np.float64), gaussians.variances.astype(np.float64)
        weights = np.exp(gaussians.log_priors.astype(np.float64))
        weights /= weights.sum()
        scale = np.sqrt(weights @ (variances + (means - tables.centre) ** 2))
        away, spread = (means - tables.centre) / scale, variances / scale**2
        constant = tables.offsets - 0.5 * (away**2 / spread).sum(1)
        vectors = np.concatenate([-0.5 / spread, away / spread, constant[:, None]], axis=1)
        _, first, inverse = np.unique(
            vectors.astype(np.float32), axis=0, return_index=True, return_inverse=True
        )
        order = np.argsort(first)
        places = np.argsort(order)[inverse.reshape(-1)]
        return cls(tables.centre, scale, vectors[first[order]].astype(np.float32), first[order], places)

    def terms(self, latents: Floats) -> Floats:
        """[z^2, z, 1] of latents [n, latent], float32 [n, 2 * latent + 1]."""
        scaled = ((latents - self.centre) / self.scale).astype(np.float32)  # [n, latent]
        return np.concatenate([scaled**2, scaled, np.ones((len(scaled), 1), np.float32)], axis=1)
