# SPDX-License-Identifier: Apache-2.0
"""The most likely of some diagonal Gaussians: arrays in, arrays out."""

from dataclasses import dataclass

import numpy as np

from . import _core
from .arrays import Array, Nonfinite, is_contiguous, is_torch, kind_of, to_numpy
from .arrays import prepare as prepare_array


@dataclass(frozen=True)
class GaussianTables:
    """Diagonal Gaussians with priors as `assign` wants them; `gaussian_tables` makes them.

    log p(z, c) = offsets[c] - sum_f (scales[f, c] * (z[f] - centre[f]) - shifts[f, c])^2
    """

    centre: Array
    """[latent], the mean over all clusters, rounded to float32 whatever the dtype."""
    scales: Array
    """[latent, clusters], sqrt(1 / (2 variance))."""
    shifts: Array
    """[latent, clusters], scales * (mean - centre)."""
    offsets: Array
    """[clusters], log prior - 1/2 sum_f log(2 pi variance)."""

    def parts(self) -> tuple[Array, Array, Array, Array]:
        """(centre, scales, shifts, offsets)."""
        return self.centre, self.scales, self.shifts, self.offsets

    def like(self, array: Array) -> "GaussianTables":
        """The tables in the library of `array`, on its device and in the dtype that is computed in for it."""
        kind = kind_of("array", array)
        options = {} if kind.device is None else {"device": kind.device}
        dtype = getattr(kind.library, kind.dtype)
        return GaussianTables(
            *(kind.library.asarray(to_numpy(part), dtype=dtype, **options) for part in self.parts())
        )


@dataclass(frozen=True)
class Assignment:
    """What `assign` returns."""

    index: Array
    """int32 [batch], the most likely cluster, the lowest on a tie."""
    log_likelihood: Array
    """[batch], natural logarithm of prior times density there."""
    margin: Array
    """[batch], at least 0: by how much that exceeds the runner-up's; infinite where there is one cluster."""


def gaussian_tables(means: Array, variances: Array, log_priors: Array) -> GaussianTables:
    """The tables of diagonal Gaussians, float64 numpy arrays; `GaussianTables.like` converts them.

    Args:
        means: [clusters, latent].
        variances: [clusters, latent], positive.
        log_priors: [clusters], natural logarithms.

    Raises:
        ValueError: shapes do not fit together, values are not finite, or a variance is not positive.
    """
    means, variances, log_priors = (
        np.asarray(to_numpy(array), np.float64) for array in (means, variances, log_priors)
    )
    if means.ndim != 2 or min(means.shape) < 1:
        raise ValueError(f"means: expected [clusters, latent], got shape {list(means.shape)}")
    for name, array, shape in (
        ("variances", variances, means.shape),
        ("log_priors", log_priors, means.shape[:1]),
    ):
        if array.shape != shape:
            raise ValueError(f"{name}: expected shape {list(shape)}, got {list(array.shape)}")
    for name, array in (("means", means), ("variances", variances), ("log_priors", log_priors)):
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: expected finite values, got NaN or infinity")
    if not (variances > 0).all():
        raise ValueError("variances: expected positive values")
    weights = np.exp(log_priors - log_priors.max())
    centre = (weights / weights.sum() @ means).astype(np.float32).astype(np.float64)
    scales = np.sqrt(0.5 / variances)
    return GaussianTables(
        centre,
        np.ascontiguousarray(scales.T),
        np.ascontiguousarray((scales * (means - centre)).T),
        log_priors - 0.5 * np.log(2 * np.pi * variances).sum(1),
    )


def assign(latents: Array, tables: GaussianTables, nonfinite: Nonfinite = "raise") -> Assignment:
    """The most likely cluster of each latent: argmax over clusters of log prior + log density.

    The bits of an answer depend on nothing but the latent and the tables. In float32 the index is that of
    exact arithmetic wherever the margin exceeds some roundings of the log-likelihood's size.

    Args:
        latents: [batch, latent]; half precision is computed in float32.
        tables: the clusters, of the kind of `latents` (`tables.like(latents)`).
        nonfinite: "raise" refuses NaN and infinity in `latents`, "zero" takes them for 0. None is "raise" on
            the CPU, and does not look at `latents` on a GPU, for which the call would wait.

    Returns:
        Index, log-likelihood and margin; the last two in the dtype computed in.

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.
        DeviceError: an array lives where no kernel was built for.
    """
    kind = kind_of("latents", latents)
    latents = prepare_array("latents", latents, kind, nonfinite)
    parts = [
        part if _alike(part, latents) else prepare_array(name, part, kind, None)
        for name, part in zip(("centre", "scales", "shifts", "offsets"), tables.parts(), strict=True)
    ]
    batch = latents.shape[0] if latents.ndim else 0
    index, log_likelihood, margin = kind.empty((batch,), "int32"), kind.empty((batch,)), kind.empty((batch,))
    _core.assign(latents, *parts, index, log_likelihood, margin, kind.place)
    return Assignment(index, log_likelihood, margin)


def _alike(part: Array, latents: Array) -> bool:
    """Whether a table is ready beside latents that are; the full check costs more than one latent does."""
    return (
        type(part) is type(latents)
        and part.dtype == latents.dtype
        and (not is_torch(part) or (part.device == latents.device and not part.requires_grad))
        and is_contiguous(part)
    )
