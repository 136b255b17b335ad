# SPDX-License-Identifier: Apache-2.0
"""The rows of the evaluation's table: srdfast, its rivals, and each as a module that can be attacked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from .attacks.low_band import low_pass
from .rivals import Purify, jpeg, low_band, median, total_variation

if TYPE_CHECKING:
    from .purifier import Purifier

SRDFAST = "srdfast"
BACKWARDS = ("identity", "low", "exact")

Defend = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Row:
    """One line of the table: what is done to the images, and which network then sees them.

    Attributes:
        name: what the table calls it.
        defend: (images float [batch, 3, height, width] in [0, 1], labels int64 [batch]) -> images; only a
            row that is told the truth looks at the labels. None: the images go through unchanged.
        network: images -> logits; None: the protected classifier.
        exact: `defend` with its exact gradient, where it has one.
        purifier: the purifier whose choice of dictionary an adaptive attacker can aim at, if there is one.
        gray_box: the network that the gray-box attacker knows; None: the protected classifier.
        sample: the row is so slow that only the first so many images of each column are measured, and BPDA
            alone of the adaptive attacks.
        identity: tells rows of the same name but other parameters apart when results are resumed.
        split_strength: of the low-pass filter (`srdfast.split`) that attackers who know the band take, at
            least 0; for a purifier, that of its bank.
    """

    name: str
    defend: Defend | None = None
    network: nn.Module | None = None
    exact: Defend | None = None
    purifier: Purifier | None = None
    gray_box: nn.Module | None = None
    sample: int | None = None
    identity: str = ""
    split_strength: float = 5.0


def standard_rows(
    purifier: Purifier,
    one_dictionary: Purifier | None = None,
    rivals: dict[str, Purify] | None = None,
    denoiser: nn.Module | None = None,
    extra: Sequence[Row] = (),
) -> list[Row]:
    """No defence, the rivals, srdfast, and the encoder that chooses its dictionaries.

    Args:
        purifier: under test; its encoder is measured alone in the last row.
        one_dictionary: a purifier with a single dictionary for all images, to compare with.
        rivals: by name, instead of the usual strengths of JPEG, median and total variation.
        denoiser: a convolutional denoiser to compare with.
        extra: rows to stand between these rivals and srdfast.
    """
    if rivals is None:
        rivals = {
            **{f"JPEG, quality {quality}": jpeg(quality) for quality in (75, 50, 25)},
            "median 3 x 3": median(3),
            **{f"total variation, {weight:g}": total_variation(weight) for weight in (0.05, 0.1)},
        }
    rows = [Row("no defence")]
    rows += [image_row(name, rival) for name, rival in rivals.items()]
    strength = purifier.bank.split_strength
    low = image_row("low band only", low_band(strength))
    rows.append(replace(low, identity=str(strength), split_strength=strength))
    if one_dictionary is not None:
        rows.append(purifier_row("srdfast, one dictionary", one_dictionary))
    if denoiser is not None:
        rows.append(module_row("convolutional denoiser", denoiser))
    rows += [*extra, purifier_row(SRDFAST, purifier)]
    rows.append(purifier_row("srdfast, told the true class", purifier, told=True))
    rows.append(Row("encoder alone", network=purifier.encoder))
    return rows


def image_row(name: str, purify: Purify) -> Row:
    """A row for any function from images to images without a gradient."""
    return Row(name, lambda images, labels: purify(images))


def module_row(name: str, module: nn.Module) -> Row:
    """A row for a differentiable module from images to images."""
    return Row(
        name,
        lambda images, labels: module(images),
        exact=lambda images, labels: module(images),
        identity=fingerprint(module),
    )


def purifier_row(name: str, purifier: Purifier, told: bool = False) -> Row:
    """A row for a purifier, with its exact gradient; `told`: the dictionary is one of the true class's."""

    def choose(images: Tensor, labels: Tensor) -> Tensor | None:
        with torch.no_grad():
            return purifier.assign(images, labels) if told else None  # None: what the encoder chooses

    row = _coded(name, purifier, choose)
    return replace(row, purifier=None if told else purifier, identity=identity_of(purifier))


def fixed_dictionary_row(purifier: Purifier, cluster: int) -> Row:
    """A row for a purifier that takes dictionary `cluster` for every image."""

    def choose(images: Tensor, labels: Tensor) -> Tensor:
        return torch.full((len(images),), cluster, device=images.device)

    return _coded(f"dictionary {cluster}", purifier, choose)


def random_dictionary_row(name: str, purifier: Purifier, seed: int = 0) -> Row:
    """A row for a purifier with one dictionary of random atoms of norm 1, coded as a refinement starts."""
    from .codes import LISTA
    from .purifier import Purifier
    from .stages.learned import FIRST_THRESHOLD, dual_frame

    bank = purifier.bank
    shape = bank.synthesis.shape
    atoms = np.random.default_rng(seed).standard_normal((1, *shape[1:]))
    atoms = (atoms / np.linalg.norm(atoms, axis=2, keepdims=True)).astype(np.float32)
    random = replace(
        bank,
        coder=LISTA(3),
        synthesis=np.repeat(atoms, shape[0], 0),
        analysis=np.repeat(dual_frame(atoms), shape[0], 0),
        thresholds=np.full(shape[:2], FIRST_THRESHOLD, np.float32),
    )
    made = Purifier(random, purifier.encoder, image_size=purifier.image_size).to(purifier.synthesis.device)
    return replace(purifier_row(name, made.eval()), purifier=None)


def _coded(name: str, purifier: Purifier, choose: Callable[[Tensor, Tensor], Tensor | None]) -> Row:
    def defend(images: Tensor, labels: Tensor) -> Tensor:
        return purifier.purify(images, clusters=choose(images, labels))

    def exact(images: Tensor, labels: Tensor) -> Tensor:
        before, purifier.grad_mode = purifier.grad_mode, "exact"
        try:
            return defend(images, labels)
        finally:
            purifier.grad_mode = before

    return Row(name, defend, exact=exact, split_strength=purifier.bank.split_strength)


def fingerprint(module: nn.Module) -> str:
    """SHA-256 of a module's parameters, buffers and, of a program, content; in hexadecimal."""
    digest = sha256(f"{type(module).__name__}{getattr(module, 'content', '')}".encode())
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name, tensor in sorted(named.items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def identity_of(purifier: Purifier) -> str:
    """SHA-256 of all that a purifier's results depend on, in hexadecimal."""
    settings = (purifier.bank.settings(), purifier.image_size, purifier.temperature, purifier.mirror)
    return sha256(f"{fingerprint(purifier)} {settings}".encode()).hexdigest()


class _Approximated(torch.autograd.Function):
    """Forward: any function of the images. Backward: another function, of the gradient."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, function: Callable[[Tensor], Tensor], backward: Callable[[Tensor], Tensor]
    ) -> Tensor:
        ctx.approximation = backward
        return function(images.detach())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.approximation(gradient), None, None


class Pipeline(nn.Module):
    """One row as one module, images -> logits, that any attack can differentiate.

    Args:
        row: the defence.
        classifier: the protected network.
        labels: int64 [batch], the true classes of the images the module will see.
        backward: the defence's gradient: "identity" or "low" (BPDA: as if the defence had returned its
            images unchanged, or their low band), or "exact", the identity where the row has no exact one.
    """

    def __init__(self, row: Row, classifier: nn.Module, labels: Tensor, backward: str = "identity") -> None:
        super().__init__()
        if backward not in BACKWARDS:
            raise ValueError(f"backward: expected one of {', '.join(BACKWARDS)}, got {backward!r}")
        self.classifier, self.network = classifier, row.network or classifier
        self.row, self.labels, self.backward_mode = row, labels, backward

    def select(self, rows: Tensor) -> Pipeline:
        """The pipeline for the images `rows` (int64 [n]) of its batch alone."""
        return Pipeline(self.row, self.classifier, self.labels[rows], self.backward_mode)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [batch, classes] of images [batch, 3, height, width] in [0, 1]."""
        if self.row.defend is None:
            return self.network(images)
        if self.backward_mode == "exact" and self.row.exact is not None:
            return self.network(self.row.exact(images, self.labels))
        defend = self.row.defend
        return self.network(
            _Approximated.apply(images, lambda view: defend(view, self.labels), self._approximate)
        )

    def _approximate(self, gradient: Tensor) -> Tensor:
        return low_pass(gradient, self.row.split_strength) if self.backward_mode == "low" else gradient
