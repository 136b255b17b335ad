# SPDX-License-Identifier: Apache-2.0
"""The exact gradients of sparse codes by their signals: arrays in, arrays out, without a framework."""

from . import _core, coding
from ._core import Prepared
from .arrays import Array, Nonfinite, kind_of, prepare_support
from .arrays import prepare as prepare_array
from .codes import whole


def lista_gradient(
    grad: Array,
    signals: Array,
    analysis: Array | Prepared,
    thresholds: Array | None,
    synthesis: Array | Prepared,
    steps: int = 1,
    index: Array | None = None,
    rebuilt: bool = False,
    nonfinite: Nonfinite = "raise",
) -> Array:
    """The gradient of a loss by signals, from that by what `lista` made of them.

    Forward again and back through the steps, fused: of_moved = of_codes where a step's codes are not zero,
    of_signals += of_moved E, of_codes = of_moved (I - E D^T). Where a code just reaches its threshold the
    derivative is 0.

    Args:
        grad: by the codes z, [batch, atoms], or where `rebuilt`, by the reconstructions zD, [batch,
            features]. Its values pass as they are: on the CPU NaN and infinity reach the gradient of their
            own signal only; on a GPU NaN may come out as a number.
        signals: x, [batch, features].
        analysis: E, one row per atom, [atoms, features] or [dictionaries, atoms, features].
        thresholds: at least 0, [atoms] or [dictionaries, atoms].
        synthesis: D, the shape of `analysis`.
        steps: at least 1.
        index: integers [batch], the dictionary of each signal; required when there are several.
        rebuilt: what `grad` belongs to.
        nonfinite: "raise" refuses NaN and infinity in `signals`, "zero" takes them for 0. None is "raise" on
            the CPU, and looks at neither `signals` nor `index` on a GPU, for which the call would wait.

    For many calls with the same dictionaries, `prepare` them both ways round: pass
    ``prepare(analysis, synthesis, thresholds)`` for `analysis`, None for `thresholds`, and
    ``prepare(synthesis, analysis, thresholds)`` for `synthesis`. The answer has the same bits.

    Returns:
        [batch, features].

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.
        DeviceError: an array lives where no kernel was built for.
    """
    kind = kind_of("grad", grad)
    grad = prepare_array("grad", grad, kind, nonfinite=None)
    signals = prepare_array("signals", signals, kind, nonfinite)
    analysis, synthesis = (
        part if isinstance(part, Prepared) else coding.stacked(prepare_array(name, part, kind), 3)
        for name, part in (("analysis", analysis), ("synthesis", synthesis))
    )
    if thresholds is None and not isinstance(analysis, Prepared):
        raise ValueError("thresholds: expected an array, or dictionaries prepared with them, got None")
    if thresholds is not None:
        thresholds = coding._thresholds(thresholds, kind)
    of_signals = kind.empty(signals.shape)
    _core.lista_gradient(
        grad, signals, analysis, thresholds, synthesis, coding._index(index, synthesis, kind, nonfinite),
        whole("steps", steps), bool(rebuilt), of_signals, kind.place,
    )  # fmt: skip
    return kind.result(of_signals)


def support_gradient(
    grad: Array,
    support: Array,
    dictionary: Array | Prepared,
    index: Array | None = None,
    rebuilt: bool = False,
    nonfinite: Nonfinite = "raise",
) -> Array:
    """The gradient of a loss by signals, from that by what `omp` or `lasso` made of them.

    On its support S a code is a linear function of the signal, (D_S D_S^T)^-1 D_S x up to a constant, and a
    reconstruction moves like the signal's orthogonal projection on the span of the atoms D_S. So the gradient
    is D_S^T (D_S D_S^T)^-1 applied to that by the code on S, or to D_S `grad` where `grad` is by the
    reconstruction. The choice of the support itself has no derivative.

    Of atoms that depend on those before them in their support (less than 64 roundings of their squared norm
    lie outside the span of these), codes are not unique; theirs are taken for constant. Supports of `omp`
    have no such atoms.

    Args:
        grad: by the codes, of the shape of `support`, or where `rebuilt`, by the reconstructions, [batch,
            features]. Its values pass as they are: NaN and infinity reach the gradient of their own signal
            only.
        support: the `indices` of `omp`, integers [batch, most] with -1 where there is no atom, each atom at
            most once a row; or the `values` of `lasso`, [batch, atoms], whose support is where they are not
            zero.
        dictionary: [atoms, features] or [dictionaries, atoms, features], or what `prepare` made of them, with
            the same answer to the last bit.
        index: integers [batch], the dictionary of each signal; required when there are several.
        rebuilt: what `grad` belongs to.
        nonfinite: None looks at neither the numbers in `support` nor `index` on a GPU, for which the call
            would wait; a number that names no atom is then none. "raise" looks.

    Returns:
        [batch, features].

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.
        DeviceError: an array lives where no kernel was built for.
    """
    task = _OF_RECONSTRUCTIONS if rebuilt else _OF_CODES
    return _on_support(task, "grad", grad, support, dictionary, index, nonfinite)


def support_codes(
    signals: Array,
    support: Array,
    dictionary: Array | Prepared,
    index: Array | None = None,
    nonfinite: Nonfinite = "raise",
) -> Array:
    """The codes of least squares on given supports, and the adjoint of `support_gradient` of codes.

    min |x - zD|^2 over the codes z that are zero off their support: (D_S D_S^T)^-1 D_S x on it.

    Args:
        signals: x, [batch, features]. Values pass as they are.
        support: as in `support_gradient`.
        dictionary: as there.
        index: as there.
        nonfinite: as there.

    Returns:
        The values beside the entries of `support`, of its shape; 0 where there is no atom, and for an atom
        that depends on those before it.

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.
        DeviceError: an array lives where no kernel was built for.
    """
    return _on_support(_CODES, "signals", signals, support, dictionary, index, nonfinite)


_OF_CODES, _OF_RECONSTRUCTIONS, _CODES = range(3)  # as csrc/ops/support_gradient numbers its tasks


def _on_support(
    task: int,
    name: str,
    given: Array,
    support: Array,
    dictionary: Array | Prepared,
    index: Array | None,
    nonfinite: Nonfinite,
) -> Array:
    kind = kind_of(name, given)
    given = prepare_array(name, given, kind, nonfinite=None)
    dictionary = coding._dictionary(dictionary, kind)
    atoms, features = dictionary.shape[-2:] if dictionary.ndim > 1 else (0, 0)
    support = prepare_support(support, kind, atoms, look=nonfinite is not None)
    shape = support.shape if task == _CODES else (coding._first_extent(given), features)
    result = kind.empty(shape)
    index = coding._index(index, dictionary, kind, nonfinite)
    _core.support_gradient(task, name, given, support, dictionary, index, result, kind.place)
    return kind.result(result)
