# SPDX-License-Identifier: Apache-2.0
"""The purification of frames that lie on a GPU: whole planes, on the current stream."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .. import coding
from ..arrays import Array, is_torch
from ..bank import SRDBank
from ..batches import in_library_of
from ..codes import LISTA
from ..encoding import Encoding
from ..errors import DeviceError
from ..planes import Levels, to_rgb
from ..purifier import Purifier
from .blocks import Geometry
from .checks import require_frame
from .choice import USUAL_SIZE
from .defaults import CHOOSE_EVERY, HYSTERESIS
from .frames import FrameInfo, load_model

AHEAD = 2  # frames whose results may be in use at once
WARM_UPS = 2  # runs before a graph is captured: they load the kernels

Planes = tuple[Tensor, ...]


class GpuFramePurifier:
    """Removes adversarial perturbations from frames, like `FramePurifier`, where the frames already are.

    Every plane is purified as a whole, so nothing is reused; results agree with those of `FramePurifier` to
    a code. Nothing passes through the host: calls put their work on the current stream of torch and return.
    On a GPU the work for frames of one size is captured into a CUDA graph, and frames may follow each other
    before the first is done.

    For use by one thread at a time, on one stream.

    Args:
        model: as `FramePurifier` takes it.
        device: where the frames lie: a CUDA device of torch, or "cpu".
        hysteresis: by how much, in nats, another cluster must be likelier than the present one to replace it.
        chroma: purify the chroma planes too; False hands back copies of them.
        choose_every: frames after which the encoder looks again.
        graph: whether to capture CUDA graphs.

    Raises:
        FileNotFoundError, ModelFormatError, TypeError, ValueError: as `FramePurifier`.
        DeviceError: the device is a GPU, and torch finds none or this build has no CUDA kernels.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | SRDBank | Purifier = "natural",
        *,
        device: str | torch.device = "cuda",
        hysteresis: float = HYSTERESIS,
        chroma: bool = True,
        choose_every: int = CHOOSE_EVERY,
        graph: bool = True,
    ) -> None:
        self.bank, purifier = load_model(model, hysteresis, choose_every)
        self.device = _device(device)
        self._chroma, self._graph = bool(chroma), graph and self.device.type == "cuda"
        learned = (self.bank.analysis, self.bank.thresholds) if isinstance(self.bank.coder, LISTA) else ()
        parts = (torch.from_numpy(np.array(part)) for part in (self.bank.synthesis, *learned))
        self._tables = coding.prepare(*(part.to(self.device) for part in parts))
        self._choice = None if purifier is None else _Choice(purifier, self.device, hysteresis)
        self._every = choose_every
        self._works: dict[Hashable, list[Callable[[Planes], Planes]]] = {}
        self.reset()

    def reset(self) -> None:
        """Forgets all frames before."""
        self._count = 0
        if self._choice is not None:
            self._choice.reset()

    @torch.no_grad()
    def purify(
        self, planes: Sequence[Array], *, bit_depth: int = 8, full_range: bool = False, matrix: str = "bt709"
    ) -> tuple[Any, ...]:
        """Purifies the next frame.

        Args:
            planes: (Y,) or (Y, Cb, Cr), as `FramePurifier.purify` takes them: tensors or arrays with
                `__dlpack__` on the device. Numpy arrays are copied to the device and back.
            bit_depth: 8 to 16.
            full_range: whether luma fills all codes.
            matrix: how planes become the RGB that the encoder sees: "bt601", "bt709" or "bt2020".

        Returns:
            Planes of the same shapes, dtypes and library, which hold until the second next call.

        Raises:
            TypeError, ValueError: an argument is not as described; the message names it.
        """
        require_frame(planes, bit_depth, matrix)
        mine = tuple(_tensor(plane).to(self.device) for plane in planes)
        levels = [Levels.of(bit_depth, full_range, chroma) for chroma in (False, True, True)[: len(mine)]]
        if self._choice is not None and self._count % self._every == 0:
            self._choice.look(mine, levels, matrix)
        work = self._work(mine, levels)
        self._count += 1
        purified = work(mine)
        if isinstance(planes[0], np.ndarray):
            return tuple(plane.cpu().numpy() for plane in purified)
        return tuple(
            plane if is_torch(like) else in_library_of(like, plane)
            for like, plane in zip(planes, purified, strict=True)
        )

    @property
    def last(self) -> FrameInfo:
        """How the last frame was purified; asking waits for the GPU. Times are not taken."""
        cluster, likelihood = (0, float("nan")) if self._choice is None else self._choice.present()
        return FrameInfo(cluster, likelihood, 0.0, 0.0, 0.0)

    def _work(self, planes: Planes, levels: Sequence[Levels]) -> Callable[[Planes], Planes]:
        """What purifies planes of these shapes; one of `AHEAD` in turn, each with results of its own."""

        def purify(some: Planes) -> Planes:
            coded = [self._plane(plane, level) for plane, level in zip(some, levels, strict=True)]
            return tuple(coded) if self._chroma else (coded[0], *(plane.clone() for plane in some[1:]))

        if not self._graph:
            return purify
        key = (tuple((plane.shape, plane.dtype) for plane in planes), tuple(levels))
        works = self._works.setdefault(key, [])
        if len(works) < AHEAD:
            works.append(_Graphed(purify, planes))
        return works[self._count % AHEAD] if len(works) == AHEAD else works[-1]

    def _plane(self, plane: Tensor, levels: Levels) -> Tensor:
        """A plane [height, width], purified; past its borders it goes on in reflection."""
        bank = self.bank
        height, width = plane.shape
        halo = Geometry.of(bank.patch, bank.stride, bank.split_strength, (height, width)).halo
        values = plane.to(torch.float32) / levels.span
        for axis in (0, 1):
            values = values.index_select(axis, _reflected(values.shape[axis], halo, plane.device))
        low, high = coding.split(values[None, None], bank.split_strength, nonfinite=None)
        rebuilt = coding.purify_patches(
            high,
            self._tables,
            bank.coder,
            index=None if self._choice is None else self._choice.index,
            patch=bank.patch,
            stride=bank.stride,
            nonfinite=None,
        )
        purified = (low + rebuilt)[0, 0, halo : halo + height, halo : halo + width]
        return (purified * levels.span).round().clamp(0, levels.most).to(plane.dtype)


class _Choice:
    """The cluster of the present frame, which stays on the device."""

    def __init__(self, purifier: Purifier, device: torch.device, hysteresis: float) -> None:
        self._encoder = purifier.encoder.to(device)
        self._size = purifier.image_size or USUAL_SIZE
        self._grey = len(purifier.encoder.spec["mean"]) == 1
        self._encoding = Encoding(purifier.bank.gaussians, "product", None)
        self._tables = purifier.bank.gaussians.tables().like(torch.empty(0, device=device))
        self._hysteresis = hysteresis
        self.index = torch.zeros(1, dtype=torch.int64, device=device)
        self._likelihood = torch.full((1,), float("nan"), device=device)
        self.reset()

    def reset(self) -> None:
        """Takes the next look as the first."""
        self._first = True

    def look(self, planes: Planes, levels: Sequence[Levels], matrix: str) -> None:
        """Chooses anew; the present cluster stays unless another is clearly likelier."""
        latents = self._encoding.tensors(self._encoder, self._view(planes, levels, matrix))  # [1, latent]
        tables = self._tables
        away = tables.scales * (latents[0] - tables.centre)[:, None] - tables.shifts  # [latent, clusters]
        scores = tables.offsets - away.square().sum(0)
        best = scores.argmax()[None]
        stays = scores[best] - scores[self.index] <= self._hysteresis
        chosen = best if self._first else torch.where(stays, self.index, best)
        self.index.copy_(chosen)  # in place: graphs read it
        self._likelihood.copy_(scores[chosen])
        self._first = False

    def present(self) -> tuple[int, float]:
        """Cluster and log-likelihood at the last look."""
        return int(self.index), float(self._likelihood)

    def _view(self, planes: Planes, levels: Sequence[Levels], matrix: str) -> Tensor:
        """The frame as the encoder sees it, float32 [1, channels, size, size] in [0, 1]."""
        size, values = (self._size, self._size), []
        for plane, level in list(zip(planes, levels, strict=True))[: 1 if self._grey else 3]:
            scaled = (plane.to(torch.float32) - level.zero) / level.span
            values.append(functional.interpolate(scaled[None, None], size, mode="bilinear", antialias=True))
        if self._grey:
            return values[0].clamp(0, 1)
        colours = to_rgb(values[0], values[1], values[2], matrix) if len(values) == 3 else 3 * values
        return torch.cat(list(colours), 1).clamp(0, 1)


class _Graphed:
    """Work on tensors of fixed shapes as a CUDA graph; its results are the same memory each time."""

    def __init__(self, work: Callable[[Planes], Planes], like: Planes) -> None:
        self._inputs = tuple(plane.clone() for plane in like)
        aside = torch.cuda.Stream(like[0].device)
        aside.wait_stream(torch.cuda.current_stream(like[0].device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                work(self._inputs)
        torch.cuda.current_stream(like[0].device).wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._results = work(self._inputs)

    def __call__(self, planes: Planes) -> Planes:
        for mine, plane in zip(self._inputs, planes, strict=True):
            mine.copy_(plane, non_blocking=True)
        self._graph.replay()
        return self._results


def _reflected(length: int, halo: int, device: torch.device) -> Tensor:
    """Positions -halo .. length + halo - 1 of a line reflected at its borders, which are repeated."""
    positions = torch.arange(-halo, length + halo, device=device) % (2 * length)
    return torch.minimum(positions, 2 * length - 1 - positions)


def _device(name: str | torch.device) -> torch.device:
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"device: torch finds no GPU for {str(name)!r}; FramePurifier is for the CPU")
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    return device


def _tensor(plane: Array) -> Tensor:
    if isinstance(plane, np.ndarray):
        return torch.from_numpy(plane if plane.flags.writeable else plane.copy())
    return plane if is_torch(plane) else torch.from_dlpack(plane)
