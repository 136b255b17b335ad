# SPDX-License-Identifier: Apache-2.0
"""The gradients on supports of OMP and the lasso: the float64 reference, slopes, hard supports, errors."""

import cases
import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

import srdfast
from srdfast.gradient import support_codes

FORMS = ["indices", "codes"]


def supports(rng, batch, atoms, sizes, form="indices"):
    """Random supports [batch] of the sizes, as padded numbers in random order or as dense codes."""
    sizes = np.broadcast_to(sizes, batch)
    indices = np.full((batch, max(int(np.max(sizes, initial=0)), 1)), -1, np.int32)
    codes = np.zeros((batch, atoms), np.float32)
    for row, size in enumerate(sizes):
        chosen = rng.choice(atoms, size, replace=False)
        indices[row, :size] = chosen
        codes[row, chosen] = rng.choice([-1.0, 1.0], size) * rng.uniform(0.1, 2, size)
    return indices if form == "indices" else codes


def problem(rng, batch=40, atoms=48, features=27, sizes=None, form="indices", rebuilt=False, **options):
    """grad, support, dictionary; the support is of sizes from 0 to 6 unless told."""
    signals, dictionary = cases.problem(rng, batch, atoms, features, **options)
    sizes = rng.integers(0, 7, batch) if sizes is None else sizes
    support = supports(rng, batch, atoms, sizes, form)
    support = support if form == "indices" else support.astype(signals.dtype)
    grad = signals if rebuilt else rng.normal(size=support.shape).astype(signals.dtype)
    return grad, support, dictionary


@pytest.mark.parametrize("rebuilt", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype, atol", [(np.float32, 2e-5), (np.float64, 1e-12)])
def test_the_float64_reference_is_matched(rng, form, rebuilt, dtype, atol):
    arguments = problem(rng, form=form, rebuilt=rebuilt, dictionaries=3, dtype=dtype)
    index = rng.integers(0, 3, 40)
    found = srdfast.support_gradient(*arguments, index, rebuilt)
    assert found.dtype == dtype and found.shape == (40, 27)
    np.testing.assert_allclose(
        found, reference.support_gradient(*arguments, index, rebuilt), rtol=0, atol=atol
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype, atol", [(np.float32, 2e-5), (np.float64, 1e-12)])
def test_codes_are_those_of_least_squares(rng, form, dtype, atol):
    arguments = problem(rng, form=form, rebuilt=True, dictionaries=3, dtype=dtype)
    index = rng.integers(0, 3, 40)
    found = support_codes(*arguments, index)
    np.testing.assert_allclose(found, reference.support_codes(*arguments, index), rtol=0, atol=atol)


@pytest.mark.parametrize("rebuilt", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [15, 16, 17, 64, 65, 100])
def test_large_supports(rng, size, form, rebuilt):
    arguments = problem(rng, 9, 160, 150, [0, size, 1, size, size - 1, size, 5, size, size], form, rebuilt)
    expected = reference.support_gradient(*arguments, None, rebuilt)
    found = srdfast.support_gradient(*arguments, rebuilt=rebuilt)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4 * np.abs(expected).max())


def test_projections_are_projections(rng):
    vectors, support, dictionary = problem(rng, form="codes", rebuilt=True, dtype=np.float64)
    once = srdfast.support_gradient(vectors, support, dictionary, rebuilt=True)
    twice = srdfast.support_gradient(once, support, dictionary, rebuilt=True)
    np.testing.assert_allclose(twice, once, rtol=0, atol=1e-12)
    off = (vectors - once) @ dictionary.T
    assert np.max(np.abs(off[support != 0])) < 1e-12
    codes = support_codes(vectors, support, dictionary)
    np.testing.assert_allclose(codes @ dictionary, once, rtol=0, atol=1e-12)


def test_an_empty_support_has_no_gradient(rng):
    grad, support, dictionary = problem(rng, sizes=0)
    assert not np.any(srdfast.support_gradient(grad, support, dictionary))
    assert not np.any(srdfast.support_gradient(grad[:, :0], support[:, :0], dictionary))
    assert srdfast.support_gradient(grad[:0], support[:0], dictionary).shape == (0, 27)


@pytest.mark.parametrize("dtype, atol", [(np.float32, 5e-6), (np.float64, 1e-13)])
def test_equal_atoms_count_once(rng, dtype, atol):
    vectors, _, dictionary = problem(rng, 5, atoms=8, sizes=0, rebuilt=True, dtype=dtype)
    dictionary[4] = dictionary[1]
    dictionary[5] = -3 * dictionary[1]
    dictionary[6] = 0
    alone = np.tile(np.array([1, 2], np.int32), (5, 1))
    expected = srdfast.support_gradient(vectors, alone, dictionary, rebuilt=True)
    for more in ([1, 4, 2], [5, 2], [2, 6, 4, 1, 5], [1, 1, 2]):
        support = np.tile(np.array(more, np.int32), (5, 1))
        found = srdfast.support_gradient(vectors, support, dictionary, rebuilt=True)
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol)
    slopes = np.ones((5, 2), dtype)
    expected = srdfast.support_gradient(slopes, alone, dictionary)
    support = np.tile(np.array([1, 4, 2, 6], np.int32), (5, 1))
    slopes = np.tile(np.array([1, 7, 1, 9], dtype), (5, 1))  # what the first leaves to others is constant
    found = srdfast.support_gradient(slopes, support, dictionary)
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype, atol", [(np.float32, 1e-3), (np.float64, 1e-9)])
def test_more_atoms_than_features_span_everything(rng, dtype, atol):
    vectors, support, dictionary = problem(
        rng, 6, atoms=90, features=12, sizes=90, form="codes", rebuilt=True, dtype=dtype
    )
    found = srdfast.support_gradient(vectors, support, dictionary, rebuilt=True)
    np.testing.assert_allclose(found, vectors, rtol=0, atol=atol)
    assert np.max(np.count_nonzero(support_codes(vectors, support, dictionary), axis=1)) <= 12


def test_both_forms_of_a_support_and_any_order_mean_the_same(rng):
    grad, indices, dictionary = problem(rng, dtype=np.float64)
    padded = np.concatenate([np.full((40, 2), -1, np.int32), indices[:, ::-1]], 1)
    slopes = np.concatenate([np.full((40, 2), np.nan), grad[:, ::-1]], 1)  # no atom, no slope
    expected = srdfast.support_gradient(grad, indices, dictionary)
    np.testing.assert_allclose(srdfast.support_gradient(slopes, padded, dictionary), expected, atol=1e-12)
    dense = reference.dense(indices, np.where(indices < 0, 0, grad), 48)
    codes = reference.dense(indices, np.ones_like(grad), 48)
    np.testing.assert_allclose(srdfast.support_gradient(dense, codes, dictionary), expected, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [3, 20])
def test_prepared_dictionaries_give_the_same_bits(rng, form, size):
    grad, support, dictionary = problem(rng, form=form, sizes=size, dictionaries=3)
    index = rng.integers(0, 3, 40)
    expected = srdfast.support_gradient(grad, support, dictionary, index)
    found = srdfast.support_gradient(grad, support, srdfast.prepare(dictionary), index)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("rebuilt", [False, True])
def test_large_supports_have_the_same_bits_whatever_is_around(rng, rebuilt):
    sizes = rng.integers(0, 80, 40)
    grad, support, dictionary = problem(rng, 40, 100, 90, sizes, "codes", rebuilt)
    together = srdfast.support_gradient(grad, support, dictionary, rebuilt=rebuilt)
    for rows in (slice(5, 6), slice(11, 40)):
        alone = srdfast.support_gradient(grad[rows], support[rows], dictionary, rebuilt=rebuilt)
        np.testing.assert_array_equal(alone, together[rows])


@pytest.mark.parametrize("rebuilt", [False, True])
def test_the_slopes_of_omp_are_measured(rng, rebuilt):
    signals, dictionary = cases.problem(rng, 12, dtype=np.float64)
    codes = srdfast.omp(signals, dictionary, 4)
    grad = rng.normal(size=signals.shape if rebuilt else codes.values.shape)
    way = rng.normal(size=signals.shape)
    found = srdfast.support_gradient(grad, codes.indices, dictionary, rebuilt=rebuilt)

    def losses(moved):
        other = srdfast.omp(moved, dictionary, 4)
        np.testing.assert_array_equal(other.indices, codes.indices)
        return np.sum(grad * (other.reconstruct(dictionary) if rebuilt else other.values), axis=1)

    slopes = (losses(signals + 1e-6 * way) - losses(signals - 1e-6 * way)) / 2e-6
    np.testing.assert_allclose(np.sum(found * way, axis=1), slopes, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("rebuilt", [False, True])
def test_the_slopes_of_the_lasso_are_measured(rng, rebuilt):
    signals, dictionary = cases.problem(rng, 12, dtype=np.float64)
    codes = srdfast.lasso(signals, dictionary, 0.3, 1e-13, 10_000).values
    grad = rng.normal(size=signals.shape if rebuilt else codes.shape)
    way = rng.normal(size=signals.shape)
    found = srdfast.support_gradient(grad, codes, dictionary, rebuilt=rebuilt)

    def losses(moved):
        other = srdfast.lasso(moved, dictionary, 0.3, 1e-13, 10_000).values
        np.testing.assert_array_equal(other != 0, codes != 0)
        return np.sum(grad * (other @ dictionary if rebuilt else other), axis=1)

    slopes = (losses(signals + 1e-6 * way) - losses(signals - 1e-6 * way)) / 2e-6
    np.testing.assert_allclose(np.sum(found * way, axis=1), slopes, rtol=1e-5, atol=1e-6)


def test_second_derivatives_are_slopes_of_the_first(rng):
    torch = pytest.importorskip("torch")
    arguments = [torch.from_numpy(part) for part in problem(rng, 6, form="codes", dtype=np.float64)]
    vectors = torch.from_numpy(rng.normal(size=(6, 27))).requires_grad_()
    grad, support, dictionary = arguments[0].requires_grad_(), *arguments[1:]
    ops = torch.ops.srdfast
    for function, leaf in (
        (lambda grad: ops.support_gradient(grad, support, dictionary, None, False), grad),
        (lambda grad: ops.support_gradient(grad, support, dictionary, None, True), vectors),
        (lambda signals: ops.support_codes(signals, support, dictionary, None), vectors),
    ):
        assert torch.autograd.gradcheck(function, leaf, eps=1e-6, atol=1e-6, fast_mode=True)
        assert torch.autograd.gradgradcheck(function, leaf, eps=1e-6, atol=1e-6, fast_mode=True)


def test_a_second_derivative_of_omp_is_that_of_its_linear_code(rng):
    torch = pytest.importorskip("torch")
    signals, dictionary = map(torch.from_numpy, cases.problem(rng, 5, dtype=np.float64))
    signals.requires_grad_()
    values, indices, _ = torch.ops.srdfast.omp(signals, dictionary, None, 3, 0.0, "correlation")
    (slopes,) = torch.autograd.grad((values**2).sum(), signals, create_graph=True)
    way = torch.randn_like(slopes)
    (curved,) = torch.autograd.grad((slopes * way).sum(), signals)
    atoms = dictionary[indices.long()]  # [5, 3, features]
    codes_of = torch.linalg.solve(atoms @ atoms.mT, atoms)  # codes = codes_of x
    expected = 2 * (codes_of.mT @ (codes_of @ way[..., None]))[..., 0]
    torch.testing.assert_close(curved, expected)


def test_a_gradient_that_is_not_finite_stays_with_its_signal(rng):
    grad, support, dictionary = problem(rng, sizes=4)
    expected = srdfast.support_gradient(grad, support, dictionary)
    grad[7, 1] = np.nan
    found = srdfast.support_gradient(grad, support, dictionary)
    assert np.all(np.isnan(found[7]))
    np.testing.assert_array_equal(np.delete(found, 7, 0), np.delete(expected, 7, 0))


@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(0, 19),
    atoms=st.integers(1, 70),
    features=st.integers(1, 40),
    form=st.sampled_from(FORMS),
    rebuilt=st.booleans(),
)
def test_any_problem_matches_the_reference(seed, batch, atoms, features, form, rebuilt):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, min(atoms, features // 2) + 1, batch)
    arguments = problem(rng, batch, atoms, features, sizes, form, rebuilt)
    expected = reference.support_gradient(*arguments, None, rebuilt)
    found = srdfast.support_gradient(*arguments, rebuilt=rebuilt)
    assert found.shape == (batch, features)
    atol = 2e-4 * max(np.max(np.abs(expected), initial=0), 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


def test_errors_name_the_argument(rng):
    grad, support, dictionary = problem(rng, dictionaries=2)
    codes = np.ones((40, 48), np.float32)
    good = dict(grad=grad, support=support, dictionary=dictionary, index=np.zeros(40, np.int64))
    wrong_number = support.copy()
    wrong_number[3, 1] = 48
    learned = srdfast.prepare(dictionary, dictionary, dictionary[..., 0] * 0)
    for wrong, error, message in (
        (dict(grad=grad[:, 1:]), ValueError, "grad: expected .*one value per entry of support"),
        (dict(rebuilt=True), ValueError, "grad: expected .*one value per feature"),
        (dict(grad=grad[0]), ValueError, "grad: expected shape that of support"),
        (dict(grad=grad.astype(np.int32)), TypeError, "grad: expected float32 or float64"),
        (dict(support=support[1:]), ValueError, "support: expected .*one row per signal"),
        (dict(support=support[0]), ValueError, r"support: expected shape \[batch, most\]"),
        (
            dict(support=wrong_number),
            ValueError,
            "support: expected atoms from 0 to 47, or -1, got 48 in entry 3",
        ),
        (dict(support=support - 1), ValueError, "support: expected atoms from 0 to 47, or -1, got -2"),
        (dict(support=codes[:, 1:], grad=codes[:, 1:]), ValueError, "support: expected .*one code per atom"),
        (dict(support=codes.astype(np.float64), grad=codes), TypeError, "support: expected float32"),
        (dict(support=codes > 0, grad=codes), TypeError, "support: expected float32"),
        (dict(support=[[0]]), TypeError, "support: expected a numpy, torch or cupy array"),
        (dict(dictionary=dictionary[None]), ValueError, "dictionary: expected shape"),
        (dict(dictionary=learned), ValueError, "dictionary: expected dictionaries prepared without"),
        (dict(index=None), ValueError, "index"),
        (dict(index=np.full(40, 2)), ValueError, "index: expected values from 0 to 1"),
    ):
        arguments = {**good, **wrong}
        with pytest.raises(error, match=message):
            srdfast.support_gradient(arguments.pop("grad"), **arguments)
