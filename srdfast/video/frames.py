# SPDX-License-Identifier: Apache-2.0
"""The purification of video, one frame after another."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core, coding
from ..bank import SRDBank
from ..codes import LISTA, Lasso
from ..errors import DeviceError
from ..planes import Levels
from .blocks import Geometry, Plane
from .checks import require_frame, require_numpy
from .choice import ClusterChoice
from .defaults import CHOOSE_EVERY, HYSTERESIS

if TYPE_CHECKING:
    from ..purifier import Purifier

MOST_ATOMS_KEPT = 1 << 16  # of a dictionary, by the type of what is kept

Planes = Sequence[np.ndarray]


@dataclass(frozen=True)
class FrameInfo:
    """How a frame was purified."""

    cluster: int
    """Whose dictionary rebuilt it."""
    log_likelihood: float
    """Log prior + log density of the latent in it when the encoder last looked; NaN without an encoder."""
    choose_ms: float
    """Milliseconds spent on choosing the cluster."""
    code_ms: float
    """Milliseconds spent on all else."""
    reused: float
    """Share of the blocks that were not coded again, in [0, 1]; 0 with `reuse=False`."""


class FramePurifier:
    """Removes adversarial perturbations from frames: each plane at its own resolution, in blocks.

    A plane is split into low and high band; the high band is rebuilt by sparse coding in a dictionary of
    one-channel patches, that of the cluster which a robust encoder chooses for the frame; purified = low +
    rebuilt. Every block is purified from a window around it (see `blocks`), so that with `reuse` a block
    whose window has not changed since the frame before, under the same cluster, keeps its result: the output
    has the same bits either way (but for `tolerance`).

    For use by one thread at a time; several may run beside each other, and then share the kernels' threads.

    Args:
        model: name of a shipped model, path of a purifier's or bank's file, a `Purifier`, or an `SRDBank`
            of one cluster, which needs no encoder (nor torch). Its patches have one channel.
        device: "cpu".
        reuse: do not code unchanged blocks again.
        tolerance: with `reuse`, a block also keeps its result while no pixel of its window differs by more
            than so many codes (of 8 bits) from what the result was made of: the noise of a static camera then
            costs nothing, and what is shown lags behind by no more. 0: the same bits as without `reuse`.
        hysteresis: by how much, in nats, another cluster's log-likelihood must be above that of the present
            one to replace it; keeps a clip from flickering between dictionaries.
        chroma: purify the chroma planes too; False hands back copies of them.
        choose_every: after so many frames the encoder looks again; sooner where a frame differs much from
            the one that it last saw, and, unless it is 1, after eight times as many where nothing happens.
        warm_start: where the bank's coder is `Lasso`, let the code of a patch start from its code in the
            frame before, at the price of 145 bytes a patch (30 MB for 1080p in 4:2:0). The certificate is
            the same, so a result differs from that of a cold start by no more than the coder's
            `gap_tolerance` allows; a cut costs speed only. An unchanged patch has the same bits.

    Raises:
        FileNotFoundError: there is no such model.
        ModelFormatError: the file is damaged or of another format.
        DeviceError: another device than the CPU.
        TypeError, ValueError: an argument is not as described; the message names it.
    """

    last: FrameInfo
    """How the last frame was purified; there is none before the first."""

    def __init__(
        self,
        model: str | os.PathLike[str] | SRDBank | Purifier = "natural",
        *,
        device: str = "cpu",
        reuse: bool = True,
        tolerance: int = 0,
        hysteresis: float = HYSTERESIS,
        chroma: bool = True,
        choose_every: int = CHOOSE_EVERY,
        warm_start: bool = True,
    ) -> None:
        if str(device) != "cpu":
            raise DeviceError(f"device: expected 'cpu', got {str(device)!r}; GpuFramePurifier is for GPUs")
        if type(tolerance) is not int or not 0 <= tolerance <= 255:
            raise ValueError(f"tolerance: expected a whole number from 0 to 255, got {tolerance!r}")
        self.bank, purifier = load_model(model, hysteresis, choose_every)
        self._geometry((1, 1))  # which refuses what no plane can be purified with
        self._choice = None if purifier is None else ClusterChoice(purifier, float(hysteresis), choose_every)
        self._reuse, self._tolerance, self._chroma = bool(reuse), tolerance, bool(chroma)
        learned = (self.bank.analysis, self.bank.thresholds) if isinstance(self.bank.coder, LISTA) else ()
        self._tables = coding.prepare(self.bank.synthesis, *learned)
        atoms = self.bank.synthesis.shape[1]
        self._warm = bool(warm_start) and isinstance(self.bank.coder, Lasso) and atoms <= MOST_ATOMS_KEPT
        self.reset()

    def reset(self) -> None:
        """Forgets all frames before: the next one is purified as the first of a clip."""
        self._format: tuple[Any, ...] = ()
        self._planes: list[Plane] = []
        self._cluster = -1
        if self._choice is not None:
            self._choice.reset()

    def purify(
        self, planes: Planes, *, bit_depth: int = 8, full_range: bool = False, matrix: str = "bt709"
    ) -> tuple[np.ndarray, ...]:
        """Purifies the next frame. A frame of another size or format than the one before starts anew.

        Args:
            planes: (Y,) or (Y, Cb, Cr), each [height, width] of uint8, or of uint16 where `bit_depth` is
                above 8; chroma of 4:4:4, 4:2:2 or 4:2:0, its sides rounded up. They are only read.
            bit_depth: 8 to 16.
            full_range: whether luma fills all codes, or (the default) 16 to 235 of 256 and chroma 16 to 240.
            matrix: how planes become the RGB that the encoder sees: "bt601", "bt709" or "bt2020".

        Returns:
            New planes of the same shapes and dtypes.

        Raises:
            TypeError, ValueError: an argument is not as described; the message names it.
        """
        begin = time.perf_counter()
        require_frame(planes, bit_depth, matrix)
        require_numpy(planes, bit_depth)
        levels = [Levels.of(bit_depth, full_range, chroma) for chroma in (False, True, True)[: len(planes)]]
        format = (tuple(plane.shape for plane in planes), bit_depth, full_range, matrix)
        if format != self._format:
            self.reset()
            self._format = format
            coded = planes if self._chroma else planes[:1]
            tolerance = self._tolerance << (bit_depth - 8)
            self._planes = [
                Plane(plane.shape, plane.dtype, self._geometry(plane.shape), tolerance, self._warm)
                for plane in coded
            ]
        try:
            return self._next(planes, levels, matrix, begin)
        except BaseException:  # what is known of the frame before may be half replaced
            self.reset()
            raise

    def _next(
        self, planes: Planes, levels: Sequence[Levels], matrix: str, begin: float
    ) -> tuple[np.ndarray, ...]:
        choose_begin = time.perf_counter()
        cluster = 0 if self._choice is None else self._choice.update(planes, levels, matrix)
        choose_end = time.perf_counter()
        for memory in self._planes:
            if cluster != self._cluster:
                memory.forget_codes()
            if not self._reuse or cluster != self._cluster:
                memory.forget()
        self._cluster = cluster
        places = [memory.advance(plane) for memory, plane in zip(self._planes, planes, strict=False)]
        self._code(
            [
                memory.work(some, level)
                for memory, some, level in zip(self._planes, places, levels, strict=False)
            ]
        )
        coded, total = sum(map(len, places)), sum(map(len, self._planes))
        purified = [memory.result() for memory in self._planes]
        purified += [plane.copy() for plane in planes[len(purified) :]]
        likelihood = math.nan if self._choice is None else self._choice.log_likelihood
        choose_ms = 1e3 * (choose_end - choose_begin)
        code_ms = 1e3 * (time.perf_counter() - begin) - choose_ms
        self.last = FrameInfo(cluster, likelihood, choose_ms, code_ms, 1 - coded / total)
        return tuple(purified)

    def _geometry(self, shape: tuple[int, int]) -> Geometry:
        return Geometry.of(self.bank.patch, self.bank.stride, self.bank.split_strength, shape)

    def _code(self, work: list[Any]) -> None:
        """Purifies blocks of the planes, all in one call."""
        bank, coder = self.bank, self.bank.coder
        common = work, self._tables, self._cluster, bank.patch, bank.stride, bank.split_strength
        if isinstance(coder, LISTA):
            _core.purify_frame_lista(*common, coder.steps)
        elif isinstance(coder, Lasso):
            _core.purify_frame_lasso(*common, coder.penalty, coder.gap_tolerance, coder.max_sweeps)
        else:
            by_residual = coder.selection == "residual"
            _core.purify_frame_omp(*common, coder.max_atoms, coder.tolerance, by_residual)


def load_model(model: Any, hysteresis: float, choose_every: int) -> tuple[SRDBank, Purifier | None]:
    """The bank of a model, and the purifier whose encoder chooses; None where there is one cluster alone.

    The settings of the choice are checked as well.
    """
    if isinstance(hysteresis, bool) or not 0 <= float(hysteresis) < math.inf:
        raise ValueError(f"hysteresis: expected a finite number of at least 0, got {hysteresis!r}")
    if type(choose_every) is not int or choose_every < 1:
        raise ValueError(f"choose_every: expected a whole number of at least 1, got {choose_every!r}")
    bank, purifier = _parts(model)
    if bank.channels != 1:
        raise ValueError(
            f"model: expected one of one-channel patches, which fit the planes of a frame, got one of "
            f"{bank.channels} channels; train one with: srdfast train --planes"
        )
    return bank, purifier


def _parts(model: Any) -> tuple[SRDBank, Purifier | None]:
    if isinstance(model, (str, os.PathLike)):
        model = _load(model)
    if isinstance(model, SRDBank):
        if model.clusters > 1:
            raise ValueError(
                "model: expected a purifier, whose encoder chooses among clusters, "
                f"got a bank of {model.clusters} without one"
            )
        return model, None
    if not isinstance(getattr(model, "bank", None), SRDBank):
        got = type(model).__name__
        raise TypeError(f"model: expected a name, a path, an SRDBank or a Purifier, got {got}")
    return model.bank, None if model.bank.clusters == 1 else model


def _load(model: str | os.PathLike[str]) -> Any:
    from ..bank import FORMAT
    from ..files import load_tensors
    from ..pretrained import path as pretrained_path

    path = os.fspath(model)
    if not os.path.splitext(path)[1] and not os.path.isfile(path):
        path = os.fspath(pretrained_path(path))
    if load_tensors(path)[1].get("format") == FORMAT:
        return SRDBank.load(path)
    from ..purifier import Purifier

    return Purifier.load(path)
