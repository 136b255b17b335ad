# SPDX-License-Identifier: Apache-2.0
"""The operator `frame`: blocks of planes purified in one call, beside the operators that it is made of."""

import numpy as np
import pytest

import srdfast
from srdfast import _core
from srdfast.codes import LISTA, OMP, Lasso
from srdfast.planes import Levels
from srdfast.video.blocks import Geometry, Plane

PATCH = 8
CODERS = {"omp": OMP(3), "lasso": Lasso(0.02, 1e-5), "lista": LISTA(2)}


def tables_of(rng, coder, atoms=24):
    """(what `prepare` makes of two dictionaries, their arrays)."""
    synthesis = rng.standard_normal((2, atoms, PATCH**2)).astype(np.float32)
    synthesis /= np.linalg.norm(synthesis, axis=2, keepdims=True)
    learned = (synthesis / 3, np.full((2, atoms), 0.005, np.float32)) if isinstance(coder, LISTA) else ()
    return srdfast.prepare(synthesis, *learned)


def call(coder, work, tables, cluster=1, stride=4, strength=5.0):
    common = work, tables, cluster, PATCH, stride, strength
    if isinstance(coder, LISTA):
        _core.purify_frame_lista(*common, coder.steps)
    elif isinstance(coder, Lasso):
        _core.purify_frame_lasso(*common, coder.penalty, coder.gap_tolerance, coder.max_sweeps)
    else:
        _core.purify_frame_omp(*common, coder.max_atoms, coder.tolerance, coder.selection == "residual")


def by_operators(coder, tables, window, shape, stride, levels):
    """The codes of a block, by one operator after the other in float32."""
    values = window.astype(np.float32) / np.float32(levels.span)
    low, high = srdfast.split(values[None], 5.0)
    before, after = stride * ((PATCH - 1) // stride), PATCH - stride
    crop = [slice(shape.halo - before, shape.halo + side + after) for side in (shape.rows, shape.columns)]
    part = np.ascontiguousarray(high[:, None, crop[0], crop[1]])
    rebuilt = srdfast.purify_patches(part, tables, coder, index=np.array([1]), patch=PATCH, stride=stride)
    inner = [slice(before, before + side) for side in (shape.rows, shape.columns)]
    core = [slice(shape.halo, shape.halo + side) for side in (shape.rows, shape.columns)]
    value = low[0, core[0], core[1]].astype(float) + rebuilt[0, 0, inner[0], inner[1]]
    return (levels.span * value).clip(0, levels.most)


@pytest.mark.parametrize("name", CODERS)
@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize("stride", [4, 3])
def test_a_block_is_split_coded_and_rounded(rng, name, bit_depth, stride):
    coder, levels = CODERS[name], Levels.of(bit_depth, False, False)
    tables, shape = tables_of(rng, coder), Geometry.of(PATCH, stride, 5.0, (90, 150))
    dtype = np.uint8 if bit_depth == 8 else np.uint16
    base = np.add.outer(np.sin(np.arange(90) / 9), np.cos(np.arange(150) / 7))
    pixels = (levels.most * (0.5 + 0.3 * base) + rng.normal(0, levels.most / 25, base.shape)).clip(
        0, levels.most
    )
    memory = Plane((90, 150), np.dtype(dtype), shape)
    places = memory.advance(pixels.astype(dtype))
    call(coder, [memory.work(places, levels)], tables, stride=stride)
    padded, _, purified, *_ = memory.work(places, levels)
    for row, column in places:
        window = padded[row : row + shape.window_rows, column : column + shape.window_columns]
        wanted = by_operators(coder, tables, window, shape, stride, levels)
        found = purified[row : row + shape.rows, column : column + shape.columns]
        assert np.abs(found - wanted).max() <= 0.5 + 2e-3 * (levels.most / 255)


def test_planes_of_a_call_do_not_mix_and_other_blocks_stay(rng):
    coder, tables = CODERS["lista"], tables_of(rng, CODERS["lista"])
    levels = [Levels.of(8, False, chroma) for chroma in (False, True, True)]
    shapes = [(130, 70), (65, 35), (65, 35)]
    planes = [rng.integers(0, 256, shape).astype(np.uint8) for shape in shapes]

    def memories():
        made = [Plane(shape, np.dtype(np.uint8), Geometry.of(PATCH, 4, 5.0, shape)) for shape in shapes]
        return made, [memory.advance(plane) for memory, plane in zip(made, planes, strict=True)]

    together, places = memories()
    call(coder, [m.work(p, level) for m, p, level in zip(together, places, levels, strict=True)], tables)
    for number, level in enumerate(levels):
        alone, places = memories()
        half = np.ascontiguousarray(places[number][::2])
        call(coder, [alone[number].work(half, level)], tables)
        done = np.zeros(shapes[number], bool)
        shape = alone[number].geometry
        for row, column in half:
            done[row : row + shape.rows, column : column + shape.columns] = True
        np.testing.assert_array_equal(alone[number].result(), np.where(done, together[number].result(), 0))


def test_the_bits_do_not_depend_on_the_threads(rng):
    coder, tables = CODERS["lasso"], tables_of(rng, CODERS["lasso"])
    pixels, results, before = rng.integers(0, 256, (200, 150)).astype(np.uint8), [], srdfast.get_num_threads()
    try:
        for threads in (1, 3):
            srdfast.set_num_threads(threads)
            memory = Plane(pixels.shape, pixels.dtype, Geometry.of(PATCH, 4, 5.0, pixels.shape), 0, True)
            call(coder, [memory.work(memory.advance(pixels), Levels.of(8, True, False))], tables)
            results.append(memory.result())
    finally:
        srdfast.set_num_threads(before)
    np.testing.assert_array_equal(*results)


def test_codes_that_do_not_fit_are_not_kept(rng):
    coder = Lasso(1e-4, 1e-5)
    tables = tables_of(rng, coder, atoms=60)
    pixels = rng.integers(0, 256, (40, 40)).astype(np.uint8)
    memory = Plane(pixels.shape, pixels.dtype, Geometry.of(PATCH, 4, 5.0, pixels.shape), 0, True)
    work = [memory.work(memory.advance(pixels), Levels.of(8, True, False))]
    counts = work[0][-1][0]
    counts[:] = 0
    call(coder, work, tables)
    first = memory.result()
    assert (counts == 0).mean() > 0.5  # such a small penalty wants more atoms than are kept
    call(coder, work, tables)
    np.testing.assert_array_equal(memory.result(), first)


def test_arguments_are_checked(rng):
    coder, tables = CODERS["omp"], tables_of(rng, CODERS["omp"])
    pixels = rng.integers(0, 256, (70, 70)).astype(np.uint8)
    memory = Plane(pixels.shape, pixels.dtype, Geometry.of(PATCH, 4, 5.0, pixels.shape))
    places = memory.advance(pixels)
    good = memory.work(places, Levels.of(8, True, False))

    def changed(at, value):
        return [(*good[:at], value, *good[at + 1 :])]

    rows, columns, window_rows, window_columns, halo = good[3]
    for work, text in (
        ([], "planes"),
        ([good] * 4, "planes"),
        ([good[:6]], "planes"),
        (changed(1, places + 1), "places"),
        (changed(1, np.array([[1 << 40, 0]])), "places"),
        (changed(1, np.array([[-rows, 0]])), "places"),
        (changed(3, (rows + 1, columns, window_rows, window_columns, halo)), "rows"),
        (changed(3, (rows, columns, rows, window_columns, halo)), "window_rows"),
        (changed(3, (rows, columns, window_rows, window_columns, 3)), "halo"),
        (changed(4, 0.0), "span"),
        (changed(5, 256.0), "most"),
    ):
        with pytest.raises(ValueError, match=text):
            call(coder, work, tables)
    with pytest.raises(ValueError, match="cluster"):
        call(coder, [good], tables, cluster=2)
    with pytest.raises(TypeError, match="prepare"):
        call(coder, [good], np.zeros((1, 4, 64), np.float32))
    with pytest.raises(TypeError, match="pixels"):
        call(coder, changed(0, good[0].astype(np.float32)), tables)
