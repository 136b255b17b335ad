# SPDX-License-Identifier: Apache-2.0
"""The mathematics of srdfast in float64 numpy: slow, plain, and what every kernel is compared with.

Symbols: ``x`` one signal [features], ``dictionary`` [atoms, features], ``z`` one code [atoms].
Ties go to the lowest index.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.fft import dctn, idctn

DEPENDENT = 1e-6  # an atom this close (squared, relative) to the span of the support adds nothing to it


# --- orthogonal matching pursuit ----------------------------------------------------------------------------


@dataclass
class Pursuit:
    """One signal's pursuit: the support in the order of choice, its coefficients, how clear a choice was."""

    support: list[int] = field(default_factory=list)
    values: np.ndarray = field(default_factory=lambda: np.zeros(0))
    margins: list[float] = field(default_factory=list)  # (best - second) / best score, one per chosen atom
    residuals: list[float] = field(
        default_factory=list
    )  # squared norm before the first atom, then after each


def fit(x, dictionary, support):
    """Least-squares coefficients of ``x`` on the chosen atoms, and what they leave of it."""
    chosen = dictionary[list(support)]  # [count, features]
    values = np.linalg.lstsq(chosen.T, x, rcond=None)[0] if len(chosen) else np.zeros(0)
    return values, x - values @ chosen


def perpendicular(dictionary, support):
    """The part of every atom that is orthogonal to the chosen atoms, [atoms, features]."""
    if not len(support):
        return dictionary
    basis = np.linalg.qr(dictionary[list(support)].T)[0]  # [features, count]
    part = dictionary - (dictionary @ basis) @ basis.T
    return part - (part @ basis) @ basis.T  # twice is enough


def omp_scores(x, dictionary, support, selection):
    """Score of every atom for the next choice; -inf where the atom depends linearly on the support.

    ``correlation``: |<residual, atom>|. ``residual``: the square root of the drop of the residual's squared
    norm that the atom brings once all coefficients are fitted again, which is
    |<residual, atom>| / |part of the atom perpendicular to the support|.
    """
    _, residual = fit(x, dictionary, support)
    norms = np.sum(dictionary**2, axis=1)
    rest = np.sum(perpendicular(dictionary, support) ** 2, axis=1)
    free = rest > DEPENDENT * norms
    free[list(support)] = False
    correlation = np.abs(dictionary @ residual)
    if selection == "correlation":
        return np.where(free, correlation, -np.inf)
    return np.where(free, correlation / np.sqrt(np.where(free, rest, 1.0)), -np.inf)


def omp_one(x, dictionary, max_atoms, tolerance=0.0, selection="correlation"):
    """Pursue one signal to ``max_atoms`` atoms or a squared residual <= ``tolerance`` or no useful atom."""
    x, dictionary = np.asarray(x, np.float64), np.asarray(dictionary, np.float64)
    found = Pursuit(residuals=[float(x @ x)])
    while len(found.support) < max_atoms and found.residuals[-1] > tolerance:
        scores = omp_scores(x, dictionary, found.support, selection)
        best = int(np.argmax(scores))
        if not scores[best] > 0:
            break
        second = max(np.max(np.delete(scores, best), initial=0.0), 0.0)
        found.margins.append(float((scores[best] - second) / scores[best]))
        found.support.append(best)
        found.values, residual = fit(x, dictionary, found.support)
        found.residuals.append(float(residual @ residual))
    return found


def omp(signals, dictionary, max_atoms=4, tolerance=0.0, selection="correlation", index=None):
    """Padded ``(indices, values, counts)`` of a batch; ``dictionary`` may hold many, chosen by ``index``."""
    indices = np.full((len(signals), max_atoms), -1, np.int32)
    values = np.zeros((len(signals), max_atoms))
    for row, (x, atoms) in enumerate(zip(signals, per_signal(dictionary, index, len(signals)), strict=True)):
        found = omp_one(x, atoms, max_atoms, tolerance, selection)
        indices[row, : len(found.support)] = found.support
        values[row, : len(found.support)] = found.values
    return indices, values, np.sum(indices >= 0, axis=1).astype(np.int32)


def dense(indices, values, atoms):
    """Padded codes as [batch, atoms]."""
    codes = np.zeros((len(indices), atoms))
    for row, (support, coefficients) in enumerate(zip(indices, values, strict=True)):
        codes[row, support[support >= 0]] = coefficients[support >= 0]
    return codes


# --- lasso --------------------------------------------------------------------------------------------------


def shrink(v, threshold):
    """Soft thresholding, the proximal operator of ``threshold * |v|_1``."""
    return np.sign(v) * np.maximum(np.abs(v) - threshold, 0.0)


def lasso_objective(signals, dictionary, codes, penalty):
    """1/2 |x - zD|^2 + penalty |z|_1 of every row, [batch]."""
    residual = signals - codes @ dictionary
    return 0.5 * np.sum(residual**2, axis=1) + penalty * np.sum(np.abs(codes), axis=1)


def lasso_gap(signals, dictionary, codes, penalty):
    """Duality gap of every row, [batch].

    The dual is max 1/2 |x|^2 - 1/2 |x - u|^2 over |D u|_inf <= penalty; the residual, scaled until it is
    feasible, is the dual point.
    """
    residual = signals - codes @ dictionary
    largest = np.max(np.abs(residual @ dictionary.T), axis=1, initial=0.0)
    scale = np.minimum(1.0, penalty / np.maximum(largest, 1e-300))
    point = scale[:, None] * residual
    dual = 0.5 * np.sum(signals**2, axis=1) - 0.5 * np.sum((signals - point) ** 2, axis=1)
    return lasso_objective(signals, dictionary, codes, penalty) - dual


def lasso(signals, dictionary, penalty=0.1, index=None, gap_tolerance=1e-12):
    """Coordinate descent, then the exact solution on its support, [batch, atoms].

    Certified: every row's gap is at most ``gap_tolerance * 1/2 |x|^2``.
    """
    signals = np.asarray(signals, np.float64)
    many = per_signal(dictionary, index, len(signals))
    codes = [_lasso_one(x, atoms, penalty, gap_tolerance) for x, atoms in zip(signals, many, strict=True)]
    return np.array(codes).reshape(len(signals), np.shape(dictionary)[-2])


def _lasso_one(x, dictionary, penalty, gap_tolerance):
    goal = gap_tolerance * 0.5 * x @ x
    gram, z = dictionary @ dictionary.T, np.zeros(len(dictionary))
    slope = dictionary @ x  # [atoms], D (x - zD)
    for _ in range(20_000):
        for code in (z, _solved_on_support(x, dictionary, z, penalty)):
            if lasso_gap(x[None], dictionary, code[None], penalty)[0] <= goal:
                return code
        for j in np.tile(np.flatnonzero(gram.diagonal()), 10):
            new = shrink(z[j] + slope[j] / gram[j, j], penalty / gram[j, j])
            if new != z[j]:
                slope += (z[j] - new) * gram[j]
                z[j] = new
    raise AssertionError("the reference lasso did not converge")


def _solved_on_support(x, dictionary, z, penalty):
    """The optimum if its support and signs are those of ``z``: D_S (x - z_S D_S) = penalty sign(z_S)."""
    support = np.flatnonzero(z)
    atoms = dictionary[support]
    code = np.zeros_like(z)
    code[support] = np.linalg.lstsq(atoms @ atoms.T, atoms @ x - penalty * np.sign(z[support]), rcond=None)[0]
    return code


# --- lista --------------------------------------------------------------------------------------------------


def lista(signals, analysis, thresholds, synthesis, steps=1, index=None):
    """Repeat z <- shrink(z + (x - zD) E^T, thresholds) from z = 0 (Gregor and LeCun 2010), [batch, atoms]."""
    signals = np.asarray(signals, np.float64)
    batch = len(signals)
    encoders, decoders = per_signal(analysis, index, batch), per_signal(synthesis, index, batch)
    limits = per_signal(np.asarray(thresholds)[..., None], index, batch)
    codes = np.zeros((batch, np.shape(synthesis)[-2]))
    for row in range(batch):
        for _ in range(steps):
            step = (signals[row] - codes[row] @ decoders[row]) @ encoders[row].T
            codes[row] = shrink(codes[row] + step, limits[row][:, 0])
    return codes


def lista_gradient(grad, signals, analysis, thresholds, synthesis, steps=1, index=None, rebuilt=False):
    """The gradient by signals, and how near each came to a threshold: ([batch, features], [batch]).

    Forward as derivatives [atoms, features] of the codes by the signal, step by step, where kernels go back.
    """
    signals, grad = np.asarray(signals, np.float64), np.asarray(grad, np.float64)
    batch, features = signals.shape
    encoders, decoders = per_signal(analysis, index, batch), per_signal(synthesis, index, batch)
    limits = per_signal(np.asarray(thresholds)[..., None], index, batch)
    gradient, distance = np.zeros(signals.shape), np.full(batch, np.inf)
    for row, (x, encoder, decoder) in enumerate(zip(signals, encoders, decoders, strict=True)):
        limit, z, slopes = limits[row][:, 0], np.zeros(len(decoder)), np.zeros((len(decoder), features))
        for _ in range(steps):
            moved = z + encoder @ (x - z @ decoder)
            of_moved = slopes + encoder @ (np.eye(features) - decoder.T @ slopes)
            slopes = np.where((np.abs(moved) > limit)[:, None], of_moved, 0)
            distance[row] = min(distance[row], np.min(np.abs(np.abs(moved) - limit)))
            z = shrink(moved, limit)
        gradient[row] = grad[row] @ (decoder.T @ slopes if rebuilt else slopes)
    return gradient, distance


# --- codes on given supports --------------------------------------------------------------------------------


def supports(support):
    """Per row, where the atoms of its support stand in the row, and which they are: [(columns, atoms)]."""
    support = np.asarray(support)
    if np.issubdtype(support.dtype, np.integer):
        return [(np.flatnonzero(row >= 0), row[row >= 0]) for row in support]
    return [(np.flatnonzero(row), np.flatnonzero(row)) for row in support]


def independent(dictionary, atoms):
    """Positions of the atoms that do not lie in the span of those before them."""
    kept, basis = [], np.zeros((0, dictionary.shape[1]))
    for place, atom in enumerate(atoms):
        rest = dictionary[atom] - (basis @ dictionary[atom]) @ basis
        rest -= (basis @ rest) @ basis  # twice is enough
        if rest @ rest > DEPENDENT * (dictionary[atom] @ dictionary[atom]):
            kept.append(place)
            basis = np.vstack([basis, rest / np.linalg.norm(rest)])
    return kept


def support_gradient(grad, support, dictionary, index=None, rebuilt=False):
    """D_S^+ times the gradient by the codes of S, or the projection of that by the reconstructions."""
    grad = np.asarray(grad, np.float64)
    many = per_signal(dictionary, index, len(grad))
    gradient = np.zeros((len(grad), np.shape(dictionary)[-1]))
    for row, (columns, atoms) in enumerate(supports(support)):
        kept = independent(many[row], atoms)
        inverse = np.linalg.pinv(many[row][atoms[kept]])  # [features, count]
        of_codes = many[row][atoms[kept]] @ grad[row] if rebuilt else grad[row][columns[kept]]
        gradient[row] = inverse @ of_codes
    return gradient


def support_codes(signals, support, dictionary, index=None):
    """Least squares on each support, in the place of its entries."""
    signals = np.asarray(signals, np.float64)
    many = per_signal(dictionary, index, len(signals))
    codes = np.zeros(np.shape(support))
    for row, (columns, atoms) in enumerate(supports(support)):
        kept = independent(many[row], atoms)
        codes[row, columns[kept]] = fit(signals[row], many[row], atoms[kept])[0]
    return codes


# --- split --------------------------------------------------------------------------------------------------


def split(images, strength=5.0):
    """Return low = argmin_u 1/2 |u - x|^2 + strength/2 |grad u|^2 (reflecting boundary) and high = x - low.

    The half-sample symmetric cosine transform diagonalises grad^T grad: its eigenvalues along an axis of n
    pixels are 2 - 2 cos(pi i / n), i = 0 .. n-1.
    """
    images = np.asarray(images, np.float64)
    rows, cols = (2 - 2 * np.cos(np.pi * np.arange(n) / n) for n in images.shape[-2:])
    gain = 1 / (1 + strength * (rows[:, None] + cols))  # [height, width]
    low = idctn(dctn(images, axes=(-2, -1), norm="ortho") * gain, axes=(-2, -1), norm="ortho")
    return low, images - low


# --- patches ------------------------------------------------------------------------------------------------


def positions(size, patch, stride):
    """Where patches start along one axis: 0, stride, 2 stride, ..., and one flush with the border."""
    starts = list(range(0, size - patch + 1, stride))
    return starts if starts[-1] == size - patch else [*starts, size - patch]


def extract_patches(images, patch=8, stride=2):
    """[batch, channels, height, width] -> [batch, positions, channels * patch * patch]."""
    rows, cols = (positions(n, patch, stride) for n in images.shape[-2:])
    stack = [images[:, :, i : i + patch, j : j + patch].reshape(len(images), -1) for i in rows for j in cols]
    return np.stack(stack, axis=1)


def average_patches(patches, shape, patch=8, stride=2):
    """Put the patches back; every pixel is the mean over the patches that cover it."""
    channels, height, width = shape
    total = np.zeros((len(patches), channels, height, width))
    cover = np.zeros((height, width))
    starts = [(i, j) for i in positions(height, patch, stride) for j in positions(width, patch, stride)]
    for place, (i, j) in enumerate(starts):
        total[:, :, i : i + patch, j : j + patch] += patches[:, place].reshape(-1, channels, patch, patch)
        cover[i : i + patch, j : j + patch] += 1
    return total / cover


def purify_patches(images, dictionary, encode, index=None, patch=8, stride=2):
    """extract -> code -> reconstruct -> average; ``encode(signals, index) -> codes [signals, atoms]``."""
    images = np.asarray(images, np.float64)
    patches = extract_patches(images, patch, stride)  # [batch, positions, features]
    batch, count, features = patches.shape
    per_patch = None if index is None else np.repeat(index, count)
    codes = encode(patches.reshape(-1, features), per_patch)
    rebuilt = reconstruct(codes, dictionary, per_patch)
    return average_patches(rebuilt.reshape(batch, count, features), images.shape[1:], patch, stride)


# --- clusters -----------------------------------------------------------------------------------------------


def log_likelihoods(latents, means, variances, log_priors):
    """Log prior + log density of every latent under every diagonal Gaussian, [batch, clusters]."""
    latents, means, variances = (np.asarray(array, np.float64) for array in (latents, means, variances))
    squares = (latents[:, None] - means) ** 2 / variances
    return log_priors - 0.5 * (squares + np.log(2 * np.pi * variances)).sum(2)


# --- many dictionaries --------------------------------------------------------------------------------------


def per_signal(dictionary, index, batch):
    """The dictionary of every signal, float64 views [batch] x [atoms, features]."""
    dictionary = np.asarray(dictionary, np.float64)
    if dictionary.ndim == 2:
        return [dictionary] * batch
    return [dictionary[i] for i in (np.zeros(batch, int) if index is None else index)]


def reconstruct(codes, dictionary, index=None):
    """zD of every row with its own dictionary, [batch, features]."""
    many = per_signal(dictionary, index, len(codes))
    rows = [z @ atoms for z, atoms in zip(codes, many, strict=True)]
    return np.array(rows).reshape(len(codes), np.shape(dictionary)[-1])
