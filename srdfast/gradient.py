# SPDX-License-Identifier: Apache-2.0
"""The exact gradient of sparse codes by their signals: arrays in, arrays out, without a framework."""

from . import _core, coding
from ._core import Prepared
from .arrays import Array, Nonfinite, kind_of
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
