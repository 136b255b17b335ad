# SPDX-License-Identifier: Apache-2.0
"""Sparse coding, the frequency split and the fused purification: arrays in, arrays out.

Every function takes numpy, torch or cupy arrays and gives back the same kind. Float32 and float64 are
computed as they are; float16 and bfloat16 are computed in float32. Coders take many dictionaries at once: a
signal carries the index of its own, and the bits of its code do not depend on the rest of the batch.
"""

from . import _core
from ._core import Prepared
from .arrays import (
    Array,
    Kind,
    Nonfinite,
    copied,
    is_contiguous,
    kind_of,
    may_look,
    prepare_index,
    require_index,
)
from .arrays import prepare as prepare_array
from .codes import (
    LISTA,
    OMP,
    Coder,
    Lasso,
    LassoCodes,
    ListaCodes,
    OMPCodes,
    Selection,
    by_residual,
    number,
    stacked,
    whole,
)


def prepare(dictionary: Array, analysis: Array | None = None, thresholds: Array | None = None) -> Prepared:
    """Computes once what the coders need of dictionaries: packed copies, Gram matrices.

    `omp`, `lasso` and `purify_patches` take the result in the place of `dictionary`, with the same answers to
    the last bit; a call with few signals then costs only these. It keeps copies of the arrays, never
    changes, and may be shared by threads. Its size is about atoms^2 + 3 * atoms * features numbers a
    dictionary.

    Args:
        dictionary: [atoms, features] or [dictionaries, atoms, features]; for `LISTA` the synthesis atoms.
        analysis: for `LISTA` only: analysis atoms, the shape of `dictionary`.
        thresholds: for `LISTA` only: at least 0, [atoms] or [dictionaries, atoms].

    On a GPU this waits until the tables are made, so that any stream may use them; not in a graph capture.

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.
        DeviceError: an array lives where no kernel was built for.
    """
    kind = kind_of("dictionary", dictionary)
    parts = [stacked(prepare_array("dictionary", dictionary, kind), 3), None, None]
    if (analysis is None) != (thresholds is None):
        raise ValueError("analysis, thresholds: expected both or neither")
    if analysis is not None:
        parts[1:] = _learned_parts(analysis, thresholds, kind)
    if kind.place is not None:  # on the CPU the native code makes the copies
        parts = [None if part is None else copied(part) for part in parts]
    place = kind.place
    prepared = _core.prepare(*parts, place)
    if place is not None and may_look(place):
        place.wait()
    return prepared


def omp(
    signals: Array,
    dictionary: Array | Prepared,
    max_atoms: int = 4,
    tolerance: float = 0.0,
    selection: Selection = "correlation",
    index: Array | None = None,
    nonfinite: Nonfinite = "raise",
) -> OMPCodes:
    """Orthogonal matching pursuit: greedy, at most `max_atoms` atoms per signal.

    Each step adds one atom and projects the signal on the span of all chosen ones. Ties go to the lowest
    index; an atom that lies in the span of the chosen ones is never added.

    Args:
        signals: [batch, features]; float32 needs |x|^2 below about 1e38.
        dictionary: [atoms, features] or [dictionaries, atoms, features], or what `prepare` made of them;
            atoms need not have unit norm.
        max_atoms: at least 1; how many atoms a code may have.
        tolerance: at least 0; stop when the residual's squared norm is not above it.
        selection: "correlation" takes the atom with the largest |<atom, residual>| (Pati et al. 1993, as
            scikit-learn); "residual" the one that lowers the residual most (order-recursive, as SPAMS).
        index: integers [batch], the dictionary of each signal; required when there are several.
        nonfinite: "raise" refuses NaN and infinity in `signals`, "zero" takes them for 0. None is "raise" on
            the CPU, and looks at neither `signals` nor `index` on a GPU, for which the call would wait.

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.
        DeviceError: an array lives where no kernel was built for.
    """
    kind = kind_of("signals", signals)
    signals = prepare_array("signals", signals, kind, nonfinite)
    dictionary = _dictionary(dictionary, kind)
    batch, atoms = _first_extent(signals), dictionary.shape[-2] if dictionary.ndim > 1 else 0
    max_atoms = whole("max_atoms", max_atoms)
    indices = kind.empty((batch, max(max_atoms, 0)), "int32")
    values = kind.empty((batch, max(max_atoms, 0)))
    counts = kind.empty((batch,), "int32")
    _core.omp(
        signals, dictionary, _index(index, dictionary, kind, nonfinite), max_atoms,
        number("tolerance", tolerance), by_residual(selection), indices, values, counts, kind.place,
    )  # fmt: skip
    return OMPCodes(indices, kind.result(values), counts, atoms)


def lasso(
    signals: Array,
    dictionary: Array | Prepared,
    penalty: float = 0.1,
    gap_tolerance: float = 1e-4,
    max_sweeps: int = 1000,
    index: Array | None = None,
    nonfinite: Nonfinite = "raise",
    start: Array | None = None,
) -> LassoCodes:
    """The lasso: min_z 1/2 |x - zD|^2 + penalty |z|_1, with a certificate of how close it came.

    Args:
        signals: [batch, features]; float32 needs |x|^2 below about 1e38.
        dictionary: [atoms, features] or [dictionaries, atoms, features], or what `prepare` made of them.
        penalty: above 0.
        gap_tolerance: at least 0; a signal is done when its duality gap is not above this share of the
            objective at z = 0, 1/2 |x|^2. Below about 1e-6 float32 stops at its own precision first.
        max_sweeps: passes over the atoms after which a signal is given back as it is.
        index: integers [batch], the dictionary of each signal; required when there are several.
        nonfinite: "raise" refuses NaN and infinity in `signals`, "zero" takes them for 0. None is "raise" on
            the CPU, and looks at neither `signals` nor `index` on a GPU, for which the call would wait.
        start: codes [batch, atoms] to start from instead of zero, such as those of similar signals; finite.
            The certificate is the same, so the answer is the same to the gap; near it, it costs fewer rounds.
            On the CPU only.

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.
        DeviceError: an array lives where no kernel was built for, or `start` on a GPU.
    """
    kind = kind_of("signals", signals)
    signals = prepare_array("signals", signals, kind, nonfinite)
    start = None if start is None else prepare_array("start", start, kind, nonfinite)
    dictionary = _dictionary(dictionary, kind)
    values = kind.empty((_first_extent(signals), dictionary.shape[-2] if dictionary.ndim > 1 else 0))
    gap = kind.empty((_first_extent(signals),))
    _core.lasso(
        signals, dictionary, _index(index, dictionary, kind, nonfinite), number("penalty", penalty),
        number("gap_tolerance", gap_tolerance), whole("max_sweeps", max_sweeps), values, gap, kind.place,
        start,
    )  # fmt: skip
    return LassoCodes(kind.result(values), kind.result(gap))


def lista(
    signals: Array,
    analysis: Array,
    thresholds: Array,
    synthesis: Array,
    steps: int = 1,
    index: Array | None = None,
    nonfinite: Nonfinite = "raise",
) -> ListaCodes:
    """Learned shrinkage: z <- shrink(z + (x - zD) E^T, thresholds), `steps` times from z = 0.

    With E = D / L, thresholds = penalty / L and L at least the largest eigenvalue of D^T D this is ISTA for
    the lasso (Gregor and LeCun, "Learning fast approximations of sparse coding", 2010).

    Args:
        signals: x, [batch, features].
        analysis: E, one row per atom, [atoms, features] or [dictionaries, atoms, features].
        thresholds: at least 0, [atoms] or [dictionaries, atoms].
        synthesis: D, the shape of `analysis`.
        steps: at least 1.
        index: integers [batch], the dictionary of each signal; required when there are several.
        nonfinite: "raise" refuses NaN and infinity in `signals`, "zero" takes them for 0. None is "raise" on
            the CPU, and looks at neither `signals` nor `index` on a GPU, for which the call would wait.

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.
        DeviceError: an array lives where no kernel was built for.
    """
    kind = kind_of("signals", signals)
    signals = prepare_array("signals", signals, kind, nonfinite)
    analysis = stacked(prepare_array("analysis", analysis, kind), 3)
    thresholds = _thresholds(thresholds, kind)
    synthesis = stacked(prepare_array("synthesis", synthesis, kind), 3)
    values = kind.empty((_first_extent(signals), analysis.shape[-2] if analysis.ndim > 1 else 0))
    _core.lista(
        signals, analysis, thresholds, synthesis, _index(index, synthesis, kind, nonfinite),
        whole("steps", steps), values, kind.place,
    )  # fmt: skip
    return ListaCodes(kind.result(values))


def split(
    images: Array,
    strength: float = 5.0,
    nonfinite: Nonfinite = "raise",
    out: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:
    """Splits images into a smooth part and the rest: low + high == images, up to one rounding.

    low = argmin_u 1/2 |u - x|^2 + strength/2 |grad u|^2 per channel, with reflecting boundary; exact at any
    size (a cosine transform along the columns, elimination along the rows).

    Args:
        images: [..., height, width]; any leading dimensions.
        strength: from 0 to 1e9; 0 gives back the image itself, up to rounding.
        nonfinite: "raise" refuses NaN and infinity, "zero" takes them for 0. None is "raise" on the CPU, and
            does not look on a GPU, for which the call would wait.
        out: two arrays to write (low, high) into, contiguous, of the shape, kind and dtype of `images`
            (float32 or float64); for streams of large images, where new memory costs as much as the split.

    Returns:
        (low, high), each of the shape of `images`; `out` where it was given.

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.
        DeviceError: an array lives where no kernel was built for.
    """
    kind = kind_of("images", images)
    images = prepare_array("images", images, kind, nonfinite)
    if images.ndim < 2:
        raise ValueError(f"images: expected shape [..., height, width], got shape {list(images.shape)}")
    low, high = (kind.empty(images.shape), kind.empty(images.shape)) if out is None else _outputs(out, images)
    leading = images.shape[:-2]
    batch = (*leading[:1], _count(leading[1:]), *images.shape[-2:]) if leading else (1, 1, *images.shape)
    parts = (images.reshape(batch), number("strength", strength), low.reshape(batch), high.reshape(batch))
    _core.split(*parts, kind.place)
    return (kind.result(low), kind.result(high)) if out is None else out


def extract_patches(images: Array, patch: int = 8, stride: int = 2) -> Array:
    """Overlapping patches, joint over the channels.

    Args:
        images: [batch, channels, height, width], height and width at least `patch`.
        patch: side of a patch in pixels.
        stride: from 1 to `patch`; along each axis patches start at 0, stride, 2 stride, ... and one more lies
            flush with the far border.

    Values pass as they are, NaN and infinity included.

    Returns:
        [batch, rows * columns, channels * patch * patch]; features in the order channel, row, column.
    """
    kind = kind_of("images", images)
    images = prepare_array("images", images, kind, nonfinite=None)
    batch, channels, height, width = _image_shape(images)
    patch, stride = whole("patch", patch), whole("stride", stride)
    patches = kind.empty((batch, _patch_count(height, width, patch, stride), channels * max(patch, 0) ** 2))
    _core.extract_patches(images, patch, stride, patches, kind.place)
    return kind.result(patches)


def average_patches(patches: Array, shape: tuple[int, int, int], patch: int = 8, stride: int = 2) -> Array:
    """Images whose pixels are the means of the patches that cover them; the inverse of `extract_patches`.

    Args:
        patches: [batch, rows * columns, channels * patch * patch].
        shape: (channels, height, width) of an image.
        patch: side of a patch in pixels.
        stride: as `extract_patches` took it.

    Returns:
        [batch, channels, height, width].
    """
    kind = kind_of("patches", patches)
    patches = prepare_array("patches", patches, kind, nonfinite=None)
    if len(shape) != 3:
        raise ValueError(f"shape: expected (channels, height, width), got {tuple(shape)}")
    images = kind.empty((_first_extent(patches), *shape))
    _core.average_patches(patches, whole("patch", patch), whole("stride", stride), images, kind.place)
    return kind.result(images)


def purify_patches(
    images: Array,
    dictionary: Array | Prepared,
    coder: Coder,
    analysis: Array | None = None,
    thresholds: Array | None = None,
    index: Array | None = None,
    patch: int = 8,
    stride: int = 2,
    nonfinite: Nonfinite = "raise",
) -> Array:
    """Rebuilds images by sparse coding: extract -> code -> reconstruct -> average, fused.

    Equal to coding the output of `extract_patches` and averaging the reconstructions by `average_patches`,
    but patches and codes never exist in memory.

    Args:
        images: the band to rebuild, [batch, channels, height, width]; for a purification the high band.
        dictionary: synthesis atoms, [atoms, channels * patch * patch] or [dictionaries, ...], or what
            `prepare` made of them.
        coder: `OMP`, `Lasso` or `LISTA`.
        analysis: for `LISTA` only, unless prepared with the dictionary: the shape of `dictionary`.
        thresholds: for `LISTA` only, unless prepared: [atoms] or [dictionaries, atoms].
        index: integers [batch], the dictionary of each image; required when there are several.
        patch: side of a patch in pixels.
        stride: from 1 to `patch`.
        nonfinite: "raise" refuses NaN and infinity in `images`, "zero" takes them for 0. None is "raise" on
            the CPU, and looks at neither `images` nor `index` on a GPU, for which the call would wait.

    Returns:
        [batch, channels, height, width].

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.
        DeviceError: an array lives where no kernel was built for.
    """
    kind = kind_of("images", images)
    images = prepare_array("images", images, kind, nonfinite)
    purified = kind.empty(images.shape)
    atoms = _dictionary(dictionary, kind)
    common = (
        images,
        atoms,
        _index(index, atoms, kind, nonfinite),
        whole("patch", patch),
        whole("stride", stride),
    )
    place = kind.place
    if not isinstance(coder, LISTA) and (analysis is not None or thresholds is not None):
        raise ValueError("analysis, thresholds: expected None unless the coder is LISTA")
    if isinstance(coder, OMP):
        tolerance = number("tolerance", coder.tolerance)
        max_atoms = whole("max_atoms", coder.max_atoms)
        _core.purify_omp(*common, max_atoms, tolerance, by_residual(coder.selection), purified, place)
    elif isinstance(coder, Lasso):
        penalty, gap_tolerance = (
            number("penalty", coder.penalty),
            number("gap_tolerance", coder.gap_tolerance),
        )
        _core.purify_lasso(
            *common, penalty, gap_tolerance, whole("max_sweeps", coder.max_sweeps), purified, place
        )
    elif isinstance(coder, LISTA):
        learned: tuple[Array | None, Array | None] = None, None
        if not isinstance(dictionary, Prepared):
            learned = _learned_parts(analysis, thresholds, kind)
        elif analysis is not None or thresholds is not None:
            raise ValueError(
                "analysis, thresholds: expected None, since they were prepared with the dictionary"
            )
        _core.purify_lista(*common, *learned, whole("steps", coder.steps), purified, place)
    else:
        raise TypeError(f"coder: expected srdfast.OMP, Lasso or LISTA, got {type(coder).__name__}")
    return kind.result(purified)


def _outputs(out: tuple[Array, Array], images: Array) -> tuple[Array, Array]:
    """The pair of arrays to write into, checked against what is written."""
    if not isinstance(out, (tuple, list)) or len(out) != 2:
        raise TypeError(f"out: expected a pair of arrays (low, high), got {type(out).__name__}")
    for array in out:
        if type(array) is not type(images) or array.dtype != images.dtype or array.shape != images.shape:
            wanted = f"{type(images).__name__} of {images.dtype} and shape {list(images.shape)}"
            got = f"{getattr(array, 'dtype', '')} {list(getattr(array, 'shape', []))}".strip()
            raise ValueError(f"out: expected {wanted}, got {type(array).__name__} {got}")
    low, high = out
    if not (is_contiguous(low) and is_contiguous(high)):
        raise ValueError("out: expected contiguous arrays")
    return low, high


def _dictionary(dictionary: Array | Prepared, kind: Kind) -> Array | Prepared:
    if isinstance(dictionary, Prepared):
        return dictionary
    return stacked(prepare_array("dictionary", dictionary, kind), 3)


def _learned_parts(analysis: Array | None, thresholds: Array | None, kind: Kind) -> tuple[Array, Array]:
    if analysis is None or thresholds is None:
        raise ValueError("analysis, thresholds: expected arrays for the coder LISTA, got None")
    return stacked(prepare_array("analysis", analysis, kind), 3), _thresholds(thresholds, kind)


def _thresholds(thresholds: Array, kind: Kind) -> Array:
    thresholds = stacked(prepare_array("thresholds", thresholds, kind), 2)
    if may_look(kind.place) and bool((thresholds < 0).any()):
        got = float(thresholds[thresholds < 0][0])
        raise ValueError(f"thresholds: expected values of at least 0, got {got}")
    return thresholds


def _index(
    index: Array | None, dictionary: Array | Prepared, kind: Kind, nonfinite: Nonfinite
) -> Array | None:
    """The dictionary of each signal as the kernels want it."""
    index = prepare_index(index, kind)
    if nonfinite is not None and dictionary.ndim == 3:  # the native code names a dictionary of another rank
        require_index(index, dictionary.shape[0], kind)
    return index


def _first_extent(array: Array) -> int:
    return array.shape[0] if array.ndim else 0


def _image_shape(images: Array) -> tuple[int, int, int, int]:
    if images.ndim != 4:
        raise ValueError(f"images: expected shape [batch, channels, height, width], got {list(images.shape)}")
    return tuple(images.shape)


def _patch_count(height: int, width: int, patch: int, stride: int) -> int:
    """Patches of an image; 0 where the geometry is wrong, which the kernel then reports."""
    if stride < 1 or patch < 1 or height < patch or width < patch:
        return 0
    return (-(-(height - patch) // stride) + 1) * (-(-(width - patch) // stride) + 1)


def _count(extents: tuple[int, ...]) -> int:
    total = 1
    for extent in extents:
        total *= extent
    return total
