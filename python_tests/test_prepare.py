# SPDX-License-Identifier: Apache-2.0
"""Prepared dictionaries give the same bits as arrays, outlive them, and say what does not fit."""

import threading

import cases
import numpy as np
import pytest

import srdfast


@pytest.fixture
def learned(rng):
    """Images [4, 3, 16, 18], synthesis and analysis atoms [3, 40, 48], thresholds [3, 40], index [4]."""
    images = (rng.random((4, 3, 16, 18)) - 0.5).astype(np.float32)
    _, synthesis = cases.problem(rng, atoms=40, features=48, dictionaries=3)
    analysis = (0.3 * synthesis).astype(np.float32)
    thresholds = rng.random((3, 40)).astype(np.float32) * np.float32(0.05)
    return images, synthesis, analysis, thresholds, np.array([2, 0, 1, 2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_the_bits_are_those_of_the_array(rng, dtype, batch):
    signals, dictionary = cases.problem(rng, batch=batch, dictionaries=3, dtype=dtype)
    index = rng.integers(0, 3, batch)
    prepared = srdfast.prepare(dictionary)
    assert prepared.shape == dictionary.shape and prepared.dtype == np.dtype(dtype).name
    for selection in ("correlation", "residual"):
        one = srdfast.omp(signals, dictionary, 5, selection=selection, index=index)
        other = srdfast.omp(signals, prepared, 5, selection=selection, index=index)
        np.testing.assert_array_equal(one.indices, other.indices)
        np.testing.assert_array_equal(one.values, other.values)
        assert one.atoms == other.atoms == dictionary.shape[1]
    one, other = (
        srdfast.lasso(signals, dictionary, index=index),
        srdfast.lasso(signals, prepared, index=index),
    )
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.gap, other.gap)


@pytest.mark.parametrize("steps", [1, 3])
def test_purification_gives_the_same_bits(learned, steps):
    images, synthesis, analysis, thresholds, index = learned
    options = {"index": index, "patch": 4, "stride": 2}
    coder = srdfast.LISTA(steps)
    one = srdfast.purify_patches(images, synthesis, coder, analysis, thresholds, **options)
    prepared = srdfast.prepare(synthesis, analysis, thresholds)
    np.testing.assert_array_equal(srdfast.purify_patches(images, prepared, coder, **options), one)
    for coder in (srdfast.OMP(3), srdfast.Lasso()):
        one = srdfast.purify_patches(images, synthesis, coder, **options)
        np.testing.assert_array_equal(
            srdfast.purify_patches(images, srdfast.prepare(synthesis), coder, **options), one
        )


def test_what_was_prepared_is_a_copy(learned):
    images, synthesis, analysis, thresholds, index = learned
    options = {"index": index, "patch": 4}
    prepared = srdfast.prepare(synthesis, analysis, thresholds)
    before = srdfast.purify_patches(images, prepared, srdfast.LISTA(2), **options)
    for array in (synthesis, analysis, thresholds):
        array[:] = 0
    del synthesis, analysis, thresholds
    np.testing.assert_array_equal(
        srdfast.purify_patches(images, prepared, srdfast.LISTA(2), **options), before
    )


def test_torch_tensors_are_prepared_too(rng):
    torch = pytest.importorskip("torch")
    signals, dictionary = cases.problem(rng, batch=9)
    prepared = srdfast.prepare(torch.from_numpy(dictionary).to(torch.float64))
    codes = srdfast.omp(torch.from_numpy(signals).double(), prepared)
    assert isinstance(codes.values, torch.Tensor)
    np.testing.assert_array_equal(codes.indices.numpy(), srdfast.omp(signals, dictionary).indices)


def test_threads_may_share_it(rng):
    signals, dictionary = cases.problem(rng, batch=50)
    prepared = srdfast.prepare(dictionary)
    expected = srdfast.omp(signals, prepared).values
    answers = [None] * 8

    def work(i):
        for _ in range(20):
            answers[i] = srdfast.omp(signals, prepared).values

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in answers:
        np.testing.assert_array_equal(answer, expected)


def test_what_does_not_fit_is_named(rng, learned):
    images, synthesis, analysis, thresholds, index = learned
    signals, dictionary = cases.problem(rng, batch=3)
    plain, of_lista = srdfast.prepare(synthesis), srdfast.prepare(synthesis, analysis, thresholds)
    with pytest.raises(ValueError, match=r"dictionary: expected .* features, .* prepared with 48"):
        srdfast.omp(signals, plain, index=[0, 1, 2])
    with pytest.raises(TypeError, match=r"dictionary: expected float64 .* another precision"):
        srdfast.lasso(signals.astype(np.float64), srdfast.prepare(dictionary))
    with pytest.raises(ValueError, match="dictionary: expected dictionaries prepared with analysis"):
        srdfast.purify_patches(images, plain, srdfast.LISTA(), index=index, patch=4)
    with pytest.raises(ValueError, match="dictionary: expected dictionaries prepared without"):
        srdfast.purify_patches(images, of_lista, srdfast.OMP(), index=index, patch=4)
    with pytest.raises(ValueError, match="analysis, thresholds: expected None"):
        srdfast.purify_patches(images, of_lista, srdfast.LISTA(), analysis, thresholds, index=index, patch=4)
    with pytest.raises(ValueError, match="index"):
        srdfast.purify_patches(images, plain, srdfast.OMP(), patch=4)


def test_bad_dictionaries_are_refused(learned):
    _, synthesis, analysis, thresholds, _ = learned
    with pytest.raises(ValueError, match="both or neither"):
        srdfast.prepare(synthesis, analysis)
    with pytest.raises(ValueError, match="analysis"):
        srdfast.prepare(synthesis, analysis[:, :5], thresholds)
    with pytest.raises(ValueError, match="thresholds"):
        srdfast.prepare(synthesis, analysis, -thresholds - 1)
    with pytest.raises(TypeError, match="dictionary"):
        srdfast.prepare([[1.0]])
    for shape in ((3,), (0, 4), (2, 0, 4), (2, 3, 0), (1, 2, 3, 4)):
        with pytest.raises(ValueError, match="dictionary"):
            srdfast.prepare(np.zeros(shape, np.float32))
    synthesis[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"dictionary.*NaN"):
        srdfast.prepare(synthesis)
