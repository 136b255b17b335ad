# SPDX-License-Identifier: Apache-2.0
"""The fused extract -> code -> reconstruct -> average against the four steps of the reference."""

import numpy as np
import pytest
import reference

import srdfast

PATCH, FEATURES, ATOMS = 4, 48, 40


def problem(rng, batch=3, size=(14, 11), dictionaries=None, dtype=np.float32):
    """High bands [batch, 3, height, width] in about [-0.5, 0.5], and unit atoms of 4x4x3."""
    images = (rng.random((batch, 3, *size)) - 0.5).astype(dtype)
    shape = (ATOMS, FEATURES) if dictionaries is None else (dictionaries, ATOMS, FEATURES)
    dictionary = rng.normal(size=shape)
    return images, (dictionary / np.linalg.norm(dictionary, axis=-1, keepdims=True)).astype(dtype)


def by_omp(dictionary, coder):
    """The reference's encoder for the coder."""

    def encode(signals, index):
        found = reference.omp(signals, dictionary, coder.max_atoms, coder.tolerance, coder.selection, index)
        return reference.dense(*found[:2], ATOMS)

    return encode


def by_lasso(dictionary, coder):
    return lambda signals, index: reference.lasso(signals, dictionary, coder.penalty, index)


def by_lista(dictionary, coder):
    analysis, thresholds = learned(dictionary)
    return lambda signals, index: reference.lista(
        signals, analysis, thresholds, dictionary, coder.steps, index
    )


def learned(dictionary):
    """Analysis atoms and thresholds that belong to the synthesis atoms."""
    return dictionary * dictionary.dtype.type(0.3), np.full(dictionary.shape[:-1], 0.05, dictionary.dtype)


CODERS = [
    (srdfast.OMP(max_atoms=3, tolerance=0.5, selection="correlation"), by_omp, 1e-5),
    (srdfast.OMP(max_atoms=4, tolerance=0.0, selection="residual"), by_omp, 1e-5),
    (srdfast.Lasso(penalty=0.1, gap_tolerance=1e-7, max_sweeps=5000), by_lasso, 2e-3),
    (srdfast.LISTA(steps=1), by_lista, 1e-5),
    (srdfast.LISTA(steps=3), by_lista, 1e-5),
]
IDS = ["omp", "omp residual", "lasso", "lista", "lista 3 steps"]


def purify(images, dictionary, coder, **options):
    """`purify_patches` with what the coder needs, in patches of 4x4 at stride 2."""
    if isinstance(coder, srdfast.LISTA):
        options["analysis"], options["thresholds"] = learned(dictionary)
    return srdfast.purify_patches(images, dictionary, coder, patch=PATCH, stride=2, **options)


@pytest.mark.parametrize("coder, encoder, atol", CODERS, ids=IDS)
@pytest.mark.parametrize("dictionaries", [None, 1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_reference_pipeline_is_matched(rng, coder, encoder, atol, dictionaries, dtype):
    images, dictionary = problem(rng, dictionaries=dictionaries, dtype=dtype)
    index = rng.integers(0, dictionaries, len(images)) if dictionaries else None
    purified = purify(images, dictionary, coder, index=index)
    assert purified.shape == images.shape and purified.dtype == dtype
    expected = reference.purify_patches(
        images, dictionary, encoder(dictionary, coder), index=index, patch=PATCH, stride=2
    )
    assert np.std(expected) > 0.01
    np.testing.assert_allclose(purified, expected, atol=atol)


@pytest.mark.parametrize("coder, encoder, atol", CODERS, ids=IDS)
@pytest.mark.parametrize("size", [(4, 4), (4, 9), (5, 5), (7, 4), (32, 32)], ids=str)
def test_the_fused_operator_is_the_four_operators_in_a_row(rng, coder, encoder, atol, size):
    images, dictionary = problem(rng, batch=2, size=size)
    patches = srdfast.extract_patches(images, patch=PATCH, stride=2)
    signals = patches.reshape(-1, FEATURES)
    if isinstance(coder, srdfast.OMP):
        codes = srdfast.omp(signals, dictionary, coder.max_atoms, coder.tolerance, coder.selection)
    elif isinstance(coder, srdfast.Lasso):
        codes = srdfast.lasso(signals, dictionary, coder.penalty, coder.gap_tolerance, coder.max_sweeps)
    else:
        codes = srdfast.lista(signals, *learned(dictionary), dictionary, steps=coder.steps)
    rebuilt = codes.reconstruct(dictionary).reshape(patches.shape)
    expected = srdfast.average_patches(rebuilt, images.shape[1:], patch=PATCH, stride=2)
    np.testing.assert_allclose(purify(images, dictionary, coder), expected, atol=1e-5)


@pytest.mark.parametrize("coder, encoder, atol", CODERS, ids=IDS)
def test_an_image_does_not_depend_on_its_batch(rng, coder, encoder, atol):
    images, dictionary = problem(rng, batch=6, dictionaries=3)
    index = np.array([2, 0, 1, 1, 0, 2])
    together = purify(images, dictionary, coder, index=index)
    order = rng.permutation(6)
    np.testing.assert_array_equal(
        purify(images[order], dictionary, coder, index=index[order]), together[order]
    )
    for row in range(6):
        alone = purify(images[row : row + 1], dictionary, coder, index=index[row : row + 1])
        np.testing.assert_array_equal(alone[0], together[row])
        single = purify(images[row : row + 1], dictionary[index[row]], coder)
        np.testing.assert_array_equal(single[0], together[row])


def test_stride_one_and_stride_patch(rng):
    images, dictionary = problem(rng, batch=1, size=(9, 9))
    for stride in (1, 4):
        coder = srdfast.OMP(max_atoms=2, tolerance=0.0, selection="correlation")
        purified = srdfast.purify_patches(images, dictionary, coder, patch=PATCH, stride=stride)
        expected = reference.purify_patches(
            images, dictionary, by_omp(dictionary, coder), patch=PATCH, stride=stride
        )
        np.testing.assert_allclose(purified, expected, atol=1e-5)


def test_a_black_image_and_an_empty_batch(rng):
    images, dictionary = problem(rng)
    for coder, _, _ in CODERS:
        assert not np.any(purify(np.zeros_like(images), dictionary, coder))
        assert purify(images[:0], dictionary, coder).shape == (0, 3, 14, 11)


@pytest.mark.parametrize("dtype, atol", [(np.float32, 1e-3), (np.float64, 1e-7)])  # about sqrt(epsilon)
def test_a_complete_dictionary_keeps_the_image(rng, dtype, atol):
    images, _ = problem(rng, dtype=dtype)
    basis = np.linalg.qr(rng.normal(size=(FEATURES, FEATURES)))[0].astype(dtype)
    purified = purify(images, basis, srdfast.OMP(max_atoms=FEATURES, tolerance=0.0, selection="correlation"))
    np.testing.assert_allclose(purified, images, atol=atol)


@pytest.mark.parametrize("shape", [(1, 3, 3, 8), (1, 3, 8, 3), (1, 3, 0, 8)], ids=str)
def test_an_image_smaller_than_the_patch_is_refused(rng, shape):
    _, dictionary = problem(rng)
    with pytest.raises(ValueError, match="image"):
        purify(np.zeros(shape, np.float32), dictionary, srdfast.LISTA(steps=1))


def test_the_coder_must_be_given_what_it_needs(rng):
    images, dictionary = problem(rng)
    analysis, thresholds = learned(dictionary)
    with pytest.raises(ValueError, match="analysis"):
        srdfast.purify_patches(images, dictionary, srdfast.LISTA(steps=1), thresholds=thresholds, patch=PATCH)
    with pytest.raises(ValueError, match="thresholds"):
        srdfast.purify_patches(images, dictionary, srdfast.LISTA(steps=1), analysis=analysis, patch=PATCH)
    with pytest.raises(TypeError, match="coder"):
        srdfast.purify_patches(images, dictionary, "omp", patch=PATCH)
    with pytest.raises(ValueError, match="dictionary"):
        srdfast.purify_patches(images, dictionary, srdfast.OMP(), patch=8)
    with pytest.raises(ValueError, match="index"):
        purify(images, np.stack([dictionary, dictionary]), srdfast.OMP())
    with pytest.raises(ValueError, match="index"):
        purify(images, np.stack([dictionary, dictionary]), srdfast.OMP(), index=np.array([0, 1, 2]))
    for options in ({"patch": 0}, {"stride": 0}, {"stride": -1}):
        with pytest.raises(ValueError, match=next(iter(options))):
            srdfast.purify_patches(
                images, dictionary, srdfast.OMP(), **{"patch": PATCH, "stride": 2, **options}
            )


def test_the_coders_are_plain_frozen_values():
    assert srdfast.OMP(max_atoms=4) == srdfast.OMP(max_atoms=4) != srdfast.OMP(max_atoms=5)
    assert hash(srdfast.Lasso(penalty=0.2)) == hash(srdfast.Lasso(penalty=0.2))
    with pytest.raises(AttributeError):
        srdfast.LISTA(steps=1).steps = 2
    for make in (
        lambda: srdfast.OMP(max_atoms=0),
        lambda: srdfast.OMP(selection="best"),
        lambda: srdfast.OMP(tolerance=-1.0),
        lambda: srdfast.Lasso(penalty=-0.1),
        lambda: srdfast.LISTA(steps=0),
    ):
        with pytest.raises(ValueError):
            coder = make()
            images, dictionary = problem(np.random.default_rng(0))
            purify(images, dictionary, coder)
