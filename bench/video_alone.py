# SPDX-License-Identifier: Apache-2.0
"""The purification alone, on frames that are in memory: what reuse and warm starts save, and the floor.

Called by bench/video.py. Ways are timed in turn, clip by clip, so that a drift of the machine meets all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import srdfast
from srdfast import LISTA, Gaussians, Lasso, SRDBank, _core
from srdfast.dictionaries import high_band_patches, learn_dictionary
from srdfast.video import FramePurifier
from srdfast.video.blocks import Geometry
from srdfast.video.sources import ContainerSource, Reading

TOLERANCES = (1, 2, 3, 4)  # codes
SIDES, HALO = (4, 8, 16, 32, 64, 128), 16  # pixels of a block, and around it
ATOMS, PENALTY, PATCHES = 64, 0.02, 20_000  # of the lasso's dictionary
GAP_TOLERANCE = 1e-4
SPLIT_OPERATIONS = 55  # a pixel of a window (csrc/ops/split/README.md), at half the rate of multiply-adds

Planes = tuple[np.ndarray, ...]
Row = dict[str, Any]


def frames_of(path: Path, count: int) -> list[Planes]:
    """The first frames of a clip."""
    source = ContainerSource(str(path), Reading(copy=()))
    frames = [frame.planes for frame in islice(source, count)]
    source.close()
    return frames


def timed_in_turn(
    ways: dict[str, Callable[[], FramePurifier]], frames: list[Planes], rounds: int
) -> dict[str, tuple[list[float], list[Any]]]:
    """Of each way, the seconds of each frame, the least of all rounds, and how frames were purified."""
    found: dict[str, tuple[list[float], list[Any]]] = {}
    for _ in range(rounds):
        for name, make in ways.items():
            purifier, seconds, infos = make(), [], []
            for planes in frames:
                start = time.perf_counter()
                purifier.purify(planes)
                seconds.append(time.perf_counter() - start)
                infos.append(purifier.last)
            before = found.get(name, (seconds, infos))[0]
            found[name] = [min(pair) for pair in zip(before, seconds, strict=True)], infos
    return found


def rows_of(
    group: str, clip: Path, found: dict[str, tuple[list[float], list[Any]]], slowest: str, notes: Callable
) -> Iterator[Row]:
    """Rows of `table`, with how much faster than the way `slowest` each is."""
    base = float(np.sum(found[slowest][0][1:]))
    for name, (seconds, infos) in found.items():
        later = np.array(seconds[1:])  # the first frame has none before it
        yield {
            "group": group,
            "name": f"{clip.name}, {name}",
            "library": "srdfast",
            "median": float(np.median(later)),
            "p99": float(np.percentile(later, 99)),
            "iqr": None,
            "rounds": len(later),
            "count": 1,
            "unit": "frames",
            "rate": len(later) / float(later.sum()),
            "ratio": None,
            "flops": None,
            "bytes": None,
            "share_of_floor": None,
            "notes": f"{base / float(later.sum()):.2f} x {slowest}{notes(name, infos)}",
        }


def reuse_rows(path: Path, model: str, count: int, rounds: int) -> Iterable[Row]:
    """What reuse saves on a clip: without it, exactly, and with a tolerance."""
    frames = frames_of(path, count)
    ways: dict[str, Callable[[], FramePurifier]] = {
        "no reuse": lambda: FramePurifier(model, reuse=False),
        "reuse": lambda: FramePurifier(model),
    }
    for tolerance in TOLERANCES:
        ways[f"tolerance {tolerance}"] = lambda tolerance=tolerance: FramePurifier(model, tolerance=tolerance)
    found = timed_in_turn(ways, frames, rounds)

    def notes(name: str, infos: list[Any]) -> str:
        return f", {100 * np.mean([info.reused for info in infos[1:]]):.0f}% of blocks reused"

    return rows_of("video, reuse", path, found, "no reuse", notes)


def unchanged(path: Path, count: int) -> Iterator[str]:
    """A line for each size of block: the share of blocks of the luma that reuse would keep.

    What the coder and the split cost plays no part here: this is the most that a size can save.
    """
    frames = [planes[0] for planes in frames_of(path, count)]
    for side in SIDES:
        shares = []
        for tolerance in (0, *TOLERANCES):
            kept = _kept(frames, side, tolerance)
            shares.append(f"{100 * kept:.0f}% (tolerance {tolerance})")
        yield f"{path.name}, blocks of {side} with {HALO} pixels around: " + ", ".join(shares)


def _kept(frames: list[np.ndarray], side: int, tolerance: int) -> float:
    """The share of blocks whose window is, from frame to frame, what it was when last taken."""
    height, width = frames[0].shape
    grid = np.ones((-(-height // side), -(-width // side)))
    places = np.ascontiguousarray(np.argwhere(grid) * side)
    windows = np.zeros((len(places), side + 2 * HALO, side + 2 * HALO), np.uint8)
    changed, counts = np.zeros(len(places), np.uint8), []
    for number, luma in enumerate(frames):
        beyond = [(HALO, HALO + -length % side) for length in luma.shape]
        padded = np.pad(luma, beyond, "symmetric")
        _core.refresh_windows(padded, places, tolerance if number else -1, windows, changed)
        counts.append(1 - changed.mean())
    return float(np.mean(counts[1:]))


def warm_rows(path: Path, count: int, rounds: int) -> Iterable[Row]:
    """What warm starts of the lasso save, in a dictionary learned from the first frame; nothing is reused."""
    frames = [planes[:1] for planes in frames_of(path, count)]
    bank = lasso_bank(frames[0][0])
    found = timed_in_turn(
        {
            "cold": lambda: FramePurifier(bank, reuse=False, warm_start=False),
            "warm": lambda: FramePurifier(bank, reuse=False),
        },
        frames,
        rounds,
    )
    counted = rounds_of_lasso(bank, frames)
    return rows_of(
        "video, lasso", path, found, "cold", lambda name, infos: f", {counted[name]:.2f} rounds a patch"
    )


def lasso_bank(luma: np.ndarray) -> SRDBank:
    """A bank of one dictionary, learned from a frame, whose coder is the lasso."""
    patches = high_band_patches(luma[None, None], PATCHES)
    atoms = learn_dictionary(patches, ATOMS, PENALTY)[None]
    one = Gaussians(*(np.ones((1, 1), np.float32),) * 2, np.zeros(1, np.float32), np.zeros(1, np.int64))
    return SRDBank(one, atoms, Lasso(PENALTY, GAP_TOLERANCE), ("any",), channels=1, stride=4)


def rounds_of_lasso(bank: SRDBank, frames: list[Planes]) -> dict[str, float]:
    """Mean rounds a patch, cold and from the codes of the frame before: independent of the machine."""
    tables, totals, before = srdfast.prepare(bank.synthesis), {"cold": [], "warm": []}, None
    for (luma,) in frames:
        high = srdfast.split(luma[None, None].astype(np.float32) / 255, bank.split_strength)[1]
        patches = srdfast.extract_patches(high, bank.patch, bank.stride)[0]
        if before is not None:
            totals["cold"].append(_rounds(patches, tables, bank.synthesis.shape[1], None)[1])
        before, rounds = _rounds(patches, tables, bank.synthesis.shape[1], before)
        totals["warm"].append(rounds)
    return {"cold": float(np.mean(totals["cold"])), "warm": float(np.mean(totals["warm"][1:]))}


def _rounds(patches: np.ndarray, tables: Any, atoms: int, start: Any) -> tuple[np.ndarray, float]:
    """Codes, and the mean of the rounds that they took."""
    values, gap = np.empty((len(patches), atoms), np.float32), np.empty(len(patches), np.float32)
    rounds = np.empty(len(patches), np.int32)
    _core.lasso(patches, tables, None, PENALTY, GAP_TOLERANCE, 1000, values, gap, None, start, rounds)
    return values, float(rounds.mean())


def floor_rows(path: Path, model: str, count: int, rounds: int, machine: dict[str, Any]) -> Iterable[Row]:
    """Frames of which nothing is reused, and the time that their operations take at the machine's peak."""
    frames = frames_of(path, count)
    purifier = FramePurifier(model, reuse=False)
    found = timed_in_turn({"all planes": lambda: purifier}, frames, rounds)
    flops = operations(purifier.bank, frames[0])
    floor = flops / machine["peak_flops"]
    shape = "x".join(map(str, frames[0][0].shape[::-1]))
    for row in rows_of(f"video, {shape}", path, found, "all planes", lambda name, infos: ""):
        seconds, infos = found["all planes"]
        looks = np.mean([info.choose_ms for info in infos])
        notes = f"floor {1e3 * floor:.1f} ms, best frame {1e3 * min(seconds):.1f} ms, choosing {looks:.1f} ms"
        yield {**row, "flops": flops, "share_of_floor": floor / row["median"], "notes": notes}


def operations(bank: SRDBank, planes: Planes) -> float:
    """Of LISTA and the split of all blocks of a frame, at the rate of multiply-adds."""
    if not isinstance(bank.coder, LISTA):
        raise SystemExit("the floor is that of a model whose coder is LISTA")
    atoms, features = bank.synthesis.shape[1:]
    of_patch = 2 * (2 * bank.coder.steps - 1 + 1) * atoms * features  # the steps, and the reconstruction
    total = 0.0
    for plane in planes:
        shape = Geometry.of(bank.patch, bank.stride, bank.split_strength, plane.shape)
        blocks = -(-plane.shape[0] // shape.rows) * -(-plane.shape[1] // shape.columns)
        windows = shape.window_rows * shape.window_columns
        total += blocks * (shape.patches * of_patch + 2 * SPLIT_OPERATIONS * windows)
    return total
