# SPDX-License-Identifier: Apache-2.0
"""The operators in torch's library: `torch.ops.srdfast.*`, for torch.compile, torch.export and autocast.

Importing srdfast and torch, in any order, registers them. One Python function serves CPU and CUDA alike; a
second one tells the shapes of the results; the gradients are in `torch_gradients`. Under autocast they
compute in float32: sums of squares and duality gaps have no use for less. NaN and infinity are errors on the
CPU; on a GPU nobody looks for them, since the call would have to wait.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from . import coding, likelihood, torch_gradients
from .codes import LISTA, OMP, Coder, Lasso
from .derived import Recent
from .gradient import lista_gradient, support_codes, support_gradient
from .lista_learned import learned_gradients

_LIBRARY = torch.library.Library("srdfast", "FRAGMENT")
_DEVICES = {"cpu": "CPU", "cuda": "CUDA"}
_PREPARED: Recent[coding.Prepared] = Recent()


def _register(
    schema: str,
    compute: Callable[..., Any],
    shapes: Callable[..., Any],
    gradient: torch_gradients.Gradient | None,
) -> None:
    """Defines an operator: what computes it on all devices, its results' shapes, and its gradient if any."""
    name = "srdfast::" + schema.partition("(")[0]
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    for device, key in _DEVICES.items():
        _LIBRARY.impl(name.removeprefix("srdfast::"), compute, key)
        torch.library.register_autocast(name, device, torch.float32, lib=_LIBRARY)
    torch.library.register_fake(name, shapes, lib=_LIBRARY)
    if gradient is not None:
        torch.library.register_autograd(name, gradient.backward, setup_context=gradient.keep, lib=_LIBRARY)


def _omp(
    signals: Tensor,
    dictionary: Tensor,
    index: Tensor | None,
    max_atoms: int,
    tolerance: float,
    selection: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    tables = _prepared(dictionary)
    codes = coding.omp(signals, tables, max_atoms, tolerance, selection, index, nonfinite=None)
    return codes.values, codes.indices, codes.counts


def _omp_shapes(
    signals: Tensor,
    dictionary: Tensor,
    index: Tensor | None,
    max_atoms: int,
    tolerance: float,
    selection: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    batch = signals.shape[0]
    indices = signals.new_empty((batch, max_atoms), dtype=torch.int32)
    return signals.new_empty((batch, max_atoms)), indices, indices.new_empty((batch,))


def _lasso(
    signals: Tensor,
    dictionary: Tensor,
    index: Tensor | None,
    penalty: float,
    gap_tolerance: float,
    max_sweeps: int,
) -> tuple[Tensor, Tensor]:
    codes = coding.lasso(
        signals, _prepared(dictionary), penalty, gap_tolerance, max_sweeps, index, nonfinite=None
    )
    return codes.values, codes.gap


def _lasso_shapes(signals: Tensor, dictionary: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return _codes_shape(signals, dictionary), signals.new_empty((signals.shape[0],))


def _lista(
    signals: Tensor,
    analysis: Tensor,
    thresholds: Tensor,
    synthesis: Tensor,
    index: Tensor | None,
    steps: int,
) -> Tensor:
    return coding.lista(signals, analysis, thresholds, synthesis, steps, index, nonfinite=None).values


def _codes_shape(signals: Tensor, dictionary: Tensor, *_: Any) -> Tensor:
    return signals.new_empty((signals.shape[0], dictionary.shape[-2]))


def _split(images: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    return coding.split(images, strength, nonfinite=None)


def _split_shapes(images: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    return _image_shape(images), _image_shape(images)


def _extract_shape(images: Tensor, patch: int, stride: int) -> Tensor:
    batch, channels, height, width = images.shape
    rows, columns = (-(-(length - patch) // stride) + 1 for length in (height, width))
    return images.new_empty((batch, rows * columns, channels * patch**2))


def _average(patches: Tensor, shape: Sequence[int], patch: int, stride: int) -> Tensor:
    channels, height, width = shape
    return coding.average_patches(patches, (channels, height, width), patch, stride)


def _average_shape(patches: Tensor, shape: Sequence[int], patch: int, stride: int) -> Tensor:
    return patches.new_empty((patches.shape[0], *shape))


def _purify_omp(
    images: Tensor,
    dictionary: Tensor,
    index: Tensor | None,
    max_atoms: int,
    tolerance: float,
    selection: Any,
    patch: int,
    stride: int,
) -> Tensor:
    return _purify(images, _prepared(dictionary), OMP(max_atoms, tolerance, selection), index, patch, stride)


def _purify_lasso(
    images: Tensor,
    dictionary: Tensor,
    index: Tensor | None,
    penalty: float,
    gap_tolerance: float,
    max_sweeps: int,
    patch: int,
    stride: int,
) -> Tensor:
    coder = Lasso(penalty, gap_tolerance, max_sweeps)
    return _purify(images, _prepared(dictionary), coder, index, patch, stride)


def _purify_lista(
    images: Tensor,
    analysis: Tensor,
    thresholds: Tensor,
    synthesis: Tensor,
    index: Tensor | None,
    steps: int,
    patch: int,
    stride: int,
) -> Tensor:
    if any(part.requires_grad for part in (synthesis, analysis, thresholds)):
        return _purify(images, synthesis, LISTA(steps), index, patch, stride, analysis, thresholds)
    tables = _prepared_lista(synthesis, analysis, thresholds)
    return _purify(images, tables, LISTA(steps), index, patch, stride)


def _purify(
    images: Tensor,
    tables: coding.Prepared | Tensor,
    coder: Coder,
    index: Tensor | None,
    patch: int,
    stride: int,
    analysis: Tensor | None = None,
    thresholds: Tensor | None = None,
) -> Tensor:
    return coding.purify_patches(
        images, tables, coder, analysis, thresholds, index, patch, stride, nonfinite=None
    )


def _image_shape(images: Tensor, *_: Any) -> Tensor:
    return images.new_empty(images.shape)


def _assign(
    latents: Tensor, centre: Tensor, scales: Tensor, shifts: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    tables = likelihood.GaussianTables(centre, scales, shifts, offsets)
    found = likelihood.assign(latents, tables, nonfinite=None)
    return found.log_likelihood, found.margin, found.index


def _assign_shapes(latents: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    computed = torch.float64 if latents.dtype == torch.float64 else torch.float32
    log_likelihood = latents.new_empty((latents.shape[0],), dtype=computed)
    margin, index = (
        log_likelihood.new_empty(log_likelihood.shape, dtype=dtype) for dtype in (computed, torch.int32)
    )
    return log_likelihood, margin, index


def _support_gradient(
    grad: Tensor, support: Tensor, dictionary: Tensor, index: Tensor | None, rebuilt: bool
) -> Tensor:
    return support_gradient(grad, support, _prepared(dictionary), index, rebuilt, nonfinite=None)


def _support_gradient_shape(grad: Tensor, _support: Tensor, dictionary: Tensor, *_: Any) -> Tensor:
    return grad.new_empty((grad.shape[0], dictionary.shape[-1]))


def _support_codes(signals: Tensor, support: Tensor, dictionary: Tensor, index: Tensor | None) -> Tensor:
    return support_codes(signals, support, _prepared(dictionary), index, nonfinite=None)


def _support_codes_shape(signals: Tensor, support: Tensor, *_: Any) -> Tensor:
    return signals.new_empty(support.shape)


def _lista_gradient(
    grad: Tensor,
    signals: Tensor,
    analysis: Tensor,
    thresholds: Tensor,
    synthesis: Tensor,
    index: Tensor | None,
    steps: int,
    rebuilt: bool,
    learned: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """By signals, analysis, thresholds and synthesis; the last three empty unless `learned`."""
    parts = analysis, thresholds, synthesis
    if learned:
        return learned_gradients(grad, signals, *parts, index, steps, rebuilt)
    if any(part.requires_grad for part in parts):
        tables: tuple[Any, Any, Any] = parts
    else:
        forward = _prepared_lista(synthesis, analysis, thresholds)
        tables = _prepared_lista(analysis, synthesis, thresholds), None, forward
    of_signals = lista_gradient(grad, signals, *tables, steps, index, rebuilt, nonfinite=None)
    return of_signals, *_of_learned(parts, learned)


def _lista_gradient_shapes(
    grad: Tensor, signals: Tensor, analysis: Tensor, thresholds: Tensor, synthesis: Tensor, *settings: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _image_shape(signals), *_of_learned((analysis, thresholds, synthesis), settings[-1])


def _of_learned(parts: tuple[Tensor, Tensor, Tensor], learned: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Of the shapes of the three, or empty."""
    first, second, third = (part.new_empty(part.shape if learned else (0,)) for part in parts)
    return first, second, third


def _prepared(dictionary: Tensor) -> coding.Prepared | Tensor:
    """What the coders need of dictionaries, kept while they live unchanged; themselves where they learn."""
    if dictionary.requires_grad:
        return dictionary
    return _PREPARED.of([dictionary], lambda: coding.prepare(dictionary))


def _prepared_lista(synthesis: Tensor, analysis: Tensor, thresholds: Tensor) -> coding.Prepared:
    """The same for LISTA; with the atoms exchanged, what its gradient needs besides."""
    parts = [synthesis, analysis, thresholds]
    return _PREPARED.of(parts, lambda: coding.prepare(*parts))


_OMP = "Tensor? index, int max_atoms, float tolerance, str selection"
_LASSO = "Tensor? index, float penalty, float gap_tolerance, int max_sweeps"
_LISTA = "Tensor analysis, Tensor thresholds, Tensor synthesis, Tensor? index, int steps"
_GRID = "int patch, int stride"

for _schema, *_functions in (
    (f"omp(Tensor signals, Tensor dictionary, {_OMP}) -> (Tensor, Tensor, Tensor)",
     _omp, _omp_shapes, torch_gradients.OMP_CODES),
    (f"lasso(Tensor signals, Tensor dictionary, {_LASSO}) -> (Tensor, Tensor)",
     _lasso, _lasso_shapes, torch_gradients.LASSO_CODES),
    (f"lista(Tensor signals, {_LISTA}) -> Tensor", _lista, _codes_shape, torch_gradients.LISTA_CODES),
    ("split(Tensor images, float strength) -> (Tensor, Tensor)",
     _split, _split_shapes, torch_gradients.SPLIT),
    (f"extract_patches(Tensor images, {_GRID}) -> Tensor",
     coding.extract_patches, _extract_shape, torch_gradients.EXTRACT),
    (f"average_patches(Tensor patches, SymInt[] shape, {_GRID}) -> Tensor",
     _average, _average_shape, torch_gradients.AVERAGE),
    (f"purify_omp(Tensor images, Tensor dictionary, {_OMP}, {_GRID}) -> Tensor",
     _purify_omp, _image_shape, torch_gradients.PURIFY_OMP),
    (f"purify_lasso(Tensor images, Tensor dictionary, {_LASSO}, {_GRID}) -> Tensor",
     _purify_lasso, _image_shape, torch_gradients.PURIFY_LASSO),
    (f"purify_lista(Tensor images, {_LISTA}, {_GRID}) -> Tensor",
     _purify_lista, _image_shape, torch_gradients.PURIFY_LISTA),
    ("assign(Tensor latents, Tensor centre, Tensor scales, Tensor shifts, Tensor offsets)"
     " -> (Tensor, Tensor, Tensor)", _assign, _assign_shapes, torch_gradients.ASSIGN),
    ("support_gradient(Tensor grad, Tensor support, Tensor dictionary, Tensor? index, bool rebuilt)"
     " -> Tensor", _support_gradient, _support_gradient_shape, torch_gradients.SUPPORT),
    ("support_codes(Tensor signals, Tensor support, Tensor dictionary, Tensor? index) -> Tensor",
     _support_codes, _support_codes_shape, torch_gradients.SUPPORT_CODES),
    (f"lista_gradient(Tensor grad, Tensor signals, {_LISTA}, bool rebuilt, bool learned)"
     " -> (Tensor, Tensor, Tensor, Tensor)", _lista_gradient, _lista_gradient_shapes, None),
):  # fmt: skip
    _register(_schema, *_functions)
