# SPDX-License-Identifier: Apache-2.0
"""Adaptive semantic clusters: found in each class, described by Gaussians."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .likelihood import GaussianTables, gaussian_tables

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Gaussians:
    """One diagonal Gaussian a cluster.

    Attributes:
        means: float32 [clusters, latent].
        variances: float32 [clusters, latent], positive.
        log_priors: float32 [clusters], natural logarithm of each cluster's share of the images.
        labels: int64 [clusters], the class that each cluster belongs to.
    """

    means: Floats
    variances: Floats
    log_priors: Floats
    labels: Integers

    def __post_init__(self) -> None:
        clusters = self.means.shape[0] if self.means.ndim == 2 else -1
        if clusters < 1:
            raise ValueError(f"means: expected [clusters, latent], got shape {self.means.shape}")
        if self.variances.shape != self.means.shape:
            raise ValueError(
                f"variances: expected shape {self.means.shape}, as means, got {self.variances.shape}"
            )
        for name, array in (("log_priors", self.log_priors), ("labels", self.labels)):
            if array.shape != (clusters,):
                raise ValueError(f"{name}: expected shape ({clusters},), one a cluster, got {array.shape}")
        for name in ("means", "variances", "log_priors"):
            array = getattr(self, name)
            if array.dtype != np.float32 or not np.isfinite(array).all():
                raise ValueError(f"{name}: expected finite float32 values")
        if not (self.variances > 0).all():
            raise ValueError("variances: expected positive values")
        if self.labels.dtype != np.int64:
            raise ValueError(f"labels: expected int64, got {self.labels.dtype}")

    def __len__(self) -> int:
        return len(self.means)

    @property
    def latent(self) -> int:
        """Number of latent features."""
        return self.means.shape[1]

    def together(self) -> "Gaussians":
        """One Gaussian with the mean and the variances of all of them together; its label is 0."""
        weights = np.exp(self.log_priors.astype(np.float64))
        weights /= weights.sum()
        mean = weights @ self.means  # [latent]
        variances = weights @ (self.variances + (self.means - mean) ** 2)
        means, spread = (part[None].astype(np.float32) for part in (mean, variances))
        return Gaussians(means, spread, np.zeros(1, np.float32), np.zeros(1, np.int64))

    def tables(self) -> GaussianTables:
        """What `srdfast.assign` needs to find the most likely cluster, float64."""
        return gaussian_tables(self.means, self.variances, self.log_priors)


def choose_clusters(
    latents: Floats,
    *,
    max_clusters: int = 6,
    components: int = 4,
    min_size: int = 50,
    seed: int = 0,
) -> tuple[Integers, dict[str, Any]]:
    """Group the latents of ONE class; the number of groups is the data's own.

    Mixtures of 1, 2 ... `max_clusters` Gaussians of full covariance are fitted to the first principal
    components. The number with the lowest Bayesian information criterion (Schwarz 1978) is chosen, among
    those whose smallest group has `min_size` latents. Full covariance, because one elongated group must not
    be cut to pieces by round ones.

    Args:
        latents: float32 [n, latent].
        max_clusters: largest number considered.
        components: principal components kept.
        min_size: smallest group allowed.
        seed: of the mixtures' starts.

    Returns:
        The group of each latent, int64 [n], largest group first; and a dictionary: `clusters`, the number
        chosen, and `bic`, the criterion of 1, 2 ... groups (None where a group would be too small; empty
        where all latents are equal, or fewer than two groups of `min_size`).
    """
    if latents.ndim != 2 or len(latents) == 0:
        raise ValueError(f"latents: expected [n, latent] with at least one row, got shape {latents.shape}")
    if max_clusters < 1 or components < 1 or min_size < 1:
        raise ValueError("max_clusters, components, min_size: expected positive numbers")
    reduced = _principal_components(latents, components)
    one_group = np.zeros(len(latents), np.int64)
    if reduced.shape[1] == 0 or len(latents) < 2 * min_size:
        return one_group, {"clusters": 1, "bic": []}
    mixtures = _mixtures(reduced, max_clusters, seed)
    bic = [
        value if np.bincount(groups, minlength=number).min() >= min_size else None
        for number, (groups, value) in enumerate(mixtures, start=1)
    ]
    best = min((value, number) for number, value in enumerate(bic) if value is not None)[1]
    groups, _ = mixtures[best]
    by_size = np.argsort(-np.bincount(groups), kind="stable")
    return np.argsort(by_size)[groups], {"clusters": best + 1, "bic": bic}


def _principal_components(latents: Floats, count: int) -> NDArray[np.float64]:
    """The first `count` principal components, scaled as one to unit mean variance: float64 [n, <= count]."""
    centred = latents.astype(np.float64) - latents.mean(0, dtype=np.float64)
    variances, directions = np.linalg.eigh(centred.T @ centred / len(latents))
    variances, directions = variances[::-1][:count], directions[:, ::-1][:, :count]
    kept = variances > 1e-9 * max(variances[0], 1e-30)
    if not kept.any():
        return np.empty((len(latents), 0))
    return centred @ directions[:, kept] / np.sqrt(variances[kept].mean())


def _mixtures(reduced: NDArray[np.float64], max_clusters: int, seed: int) -> list[tuple[Integers, float]]:
    """Mixtures of 1 .. `max_clusters` Gaussians: each one's group of every row, int64 [n], and BIC."""
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    found = []
    with (
        threadpool_limits(1),
        warnings.catch_warnings(),
    ):  # one thread: sums over threads depend on their order
        warnings.simplefilter("ignore")  # a mixture that has not converged is still a candidate
        for number in range(1, max_clusters + 1):
            model = GaussianMixture(number, reg_covar=1e-4, n_init=2, random_state=seed).fit(reduced)
            found.append((model.predict(reduced).astype(np.int64), float(model.bic(reduced))))
    return found


def fit_gaussians(
    latents: Floats, assignment: Integers, labels_of_cluster: Integers, shrinkage: float = 0.1
) -> Gaussians:
    """Mean, diagonal variance and prior of each cluster.

    A cluster's variance is drawn toward the pooled within-cluster variance by the weight max(shrinkage,
    1/sqrt(size)): the relative error of a variance falls as 1/sqrt(size), so a small cluster leans on the
    pool and stays usable. No variance falls under a thousandth of the mean pooled variance.

    Args:
        latents: float32 [n, latent].
        assignment: int64 [n], the cluster of each latent, over all classes.
        labels_of_cluster: int64 [clusters], the class of each cluster.
        shrinkage: least weight of the pool, in [0, 1].

    Raises:
        ValueError: a cluster is empty, or an argument is out of its range.
    """
    clusters = len(labels_of_cluster)
    if latents.ndim != 2 or assignment.shape != latents.shape[:1]:
        raise ValueError(f"assignment: expected one a latent {latents.shape}, got shape {assignment.shape}")
    if not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage: expected a weight in [0, 1], got {shrinkage}")
    if len(assignment) and not 0 <= assignment.min() <= assignment.max() < clusters:
        raise ValueError(
            f"assignment: expected clusters in 0 .. {clusters - 1}, got up to {assignment.max()}"
        )
    sizes = np.bincount(assignment, minlength=clusters)
    if (sizes == 0).any():
        raise ValueError(
            f"assignment: cluster {int(np.argmin(sizes))} has no latents; give each at least one"
        )
    means = np.stack(
        [latents[assignment == cluster].mean(0, dtype=np.float64) for cluster in range(clusters)]
    )
    squares = np.stack(
        [((latents[assignment == cluster] - means[cluster]) ** 2).mean(0) for cluster in range(clusters)]
    )
    pooled = sizes @ squares / sizes.sum()
    floor = max(1e-3 * float(pooled.mean()), 1e-12)
    weight = np.maximum(shrinkage, 1 / np.sqrt(sizes))[:, None]
    variances = np.maximum((1 - weight) * squares + weight * pooled, floor)
    return Gaussians(
        means.astype(np.float32),
        variances.astype(np.float32),
        np.log(sizes / sizes.sum()).astype(np.float32),
        np.asarray(labels_of_cluster, np.int64),
    )
