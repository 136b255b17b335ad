# SPDX-License-Identifier: Apache-2.0
"""Online dictionary learning on the native lasso (Mairal, Bach, Ponce and Sapiro, ICML 2009).

Minimises the mean over patches x of min_z 1/2 |x - zD|^2 + penalty |z|_1 over dictionaries D whose atoms have
at most unit norm. Each step codes a mini-batch, adds it to the sums A = sum z^T z and B = sum z^T x, in which
earlier batches fade, and minimises over one atom after the other.
"""

import sys

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from .coding import extract_patches, lasso, split

Floats = NDArray[np.float32]

GAP_TOLERANCE = 1e-3  # codes of a batch need no more than the dictionary is worth at that moment
IMAGES_TOGETHER = 256
UNUSED = 1e-6  # an atom with less than this share of the mean usage is dead


def learn_dictionary(
    patches: Floats,
    atoms: int = 256,
    penalty: float = 0.05,
    passes: int = 1,
    batch: int = 1024,
    seed: int = 0,
    progress: bool | None = False,
    description: str = "dictionary",
) -> Floats:
    """Learns one dictionary from patches.

    Args:
        patches: float32 [n, features], at least one of them not zero.
        atoms: atoms to learn, at least 1.
        penalty: weight of the l1 norm, above 0.
        passes: how often to go through the patches.
        batch: patches a step.
        seed: of the start and of the order.
        progress: show a bar on stderr; None shows it where stderr is a terminal.
        description: the bar's name.

    Returns:
        float32 [atoms, features], rows of at most unit norm; the same for the same seed.

    Raises:
        ValueError: an argument is not as described.
    """
    patches = np.asarray(patches, dtype=np.float32)
    if patches.ndim != 2 or not len(patches):
        raise ValueError(f"patches: expected [n, features] with n at least 1, got {list(patches.shape)}")
    if atoms < 1 or batch < 1 or passes < 1:
        raise ValueError(f"atoms, batch, passes: expected at least 1, got {atoms}, {batch}, {passes}")
    source = np.random.default_rng(seed)
    dictionary = _initial_dictionary(patches, atoms, source)
    usage = np.zeros((atoms, atoms))  # A
    target = np.zeros((atoms, patches.shape[1]))  # B
    steps = [(number, start) for number in range(passes) for start in range(0, len(patches), batch)]
    order = np.arange(len(patches))
    bar = tqdm(
        steps,
        desc=description,
        unit="batch",
        file=sys.stderr,
        disable=None if progress is None else not progress,
        leave=False,
    )
    for step, (_, start) in enumerate(bar):
        if start == 0:
            order = source.permutation(len(patches))
        signals = patches[order[start : start + batch]]
        codes = lasso(signals, dictionary, penalty, GAP_TOLERANCE).values
        fading = step / (step + 1)  # the first batches were coded in a poor dictionary
        usage = fading * usage + codes.T @ codes / len(signals)
        target = fading * target + codes.T @ signals / len(signals)
        dictionary = _update_atoms(dictionary, usage, target)
        dictionary = _revive_dead_atoms(dictionary, usage, signals, source)
    return dictionary


def high_band_patches(
    images: NDArray[np.uint8],
    count: int,
    patch: int = 8,
    stride: int = 2,
    split_strength: float = 5.0,
    seed: int = 0,
) -> Floats:
    """A random draw of the patches of the high band of images.

    Args:
        images: uint8 [n, channels, height, width].
        count: patches wanted; all there are when there are fewer.
        patch: side of a patch in pixels.
        stride: distance of neighbouring patches.
        split_strength: of the Tikhonov split.
        seed: of the draw.

    Returns:
        float32 [count, channels * patch * patch].
    """
    source = np.random.default_rng(seed)
    order = source.permutation(len(images))
    drawn: list[Floats] = []
    wanted = count
    for start in range(0, len(order), IMAGES_TOGETHER):
        chosen = images[order[start : start + IMAGES_TOGETHER]]
        high = split(chosen.astype(np.float32) / 255, split_strength)[1]
        patches = extract_patches(high, patch, stride)  # [chosen, per image, features]
        share = min(patches.shape[1], -(-wanted // (len(order) - start)))  # of each image, rounded up
        ranks = source.random(patches.shape[:2]).argsort(axis=1)[:, :share]
        chosen_patches = np.take_along_axis(patches, ranks[..., None], axis=1)
        drawn.append(chosen_patches.reshape(-1, patches.shape[2])[:wanted])
        wanted -= len(drawn[-1])
        if wanted == 0:
            break
    return np.concatenate(drawn)


def _initial_dictionary(patches: Floats, atoms: int, source: np.random.Generator) -> Floats:
    """Unit-norm patches drawn without repetition, random directions where they run out."""
    norms = np.linalg.norm(patches, axis=1)
    usable = np.flatnonzero(norms > 0)
    if not len(usable):
        raise ValueError("patches: expected at least one patch that is not zero")
    chosen = source.permutation(usable)[:atoms]
    extra = source.standard_normal((atoms - len(chosen), patches.shape[1]))
    dictionary = np.concatenate([patches[chosen], extra])
    return (dictionary / np.linalg.norm(dictionary, axis=1, keepdims=True)).astype(np.float32)


def _update_atoms(dictionary: Floats, usage: np.ndarray, target: np.ndarray) -> Floats:
    """One pass of block coordinate descent over the atoms (algorithm 2 of the paper)."""
    updated = dictionary.astype(np.float64)
    for atom in np.flatnonzero(np.diag(usage) > 0):
        moved = updated[atom] + (target[atom] - usage[atom] @ updated) / usage[atom, atom]
        updated[atom] = moved / max(1.0, float(np.linalg.norm(moved)))
    return updated.astype(np.float32)


def _revive_dead_atoms(
    dictionary: Floats, usage: np.ndarray, signals: Floats, source: np.random.Generator
) -> Floats:
    """Atoms that no code uses become patches of the batch."""
    strength = np.diag(usage)
    dead = np.flatnonzero(strength <= UNUSED * strength.mean())
    norms = np.linalg.norm(signals, axis=1)
    usable = np.flatnonzero(norms > 0)
    if not len(dead) or not len(usable):
        return dictionary
    chosen = source.choice(usable, len(dead))
    dictionary[dead] = signals[chosen] / norms[chosen, None]
    return dictionary
