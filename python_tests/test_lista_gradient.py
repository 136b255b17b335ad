# SPDX-License-Identifier: Apache-2.0
"""The gradient of LISTA by its signals: the float64 reference, autograd, finite differences, every error."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

import srdfast

CLEAR = 1e-5  # how far from its thresholds a signal must stay for rounding not to decide what moves


def problem(rng, batch=40, atoms=48, features=24, dictionaries=None, rebuilt=False, dtype=np.float32):
    """Gradients, signals [batch, features], analysis, thresholds and synthesis, these stacked or not."""
    stack = () if dictionaries is None else (dictionaries,)
    analysis, synthesis = 0.3 * rng.normal(size=(2, *stack, atoms, features)) / np.sqrt(features)
    arrays = (
        rng.normal(size=(batch, features if rebuilt else atoms)),
        rng.normal(size=(batch, features)),
        analysis,
        rng.uniform(0.01, 0.1, (*stack, atoms)),
        synthesis,
    )
    return tuple(array.astype(dtype) for array in arrays)


def assert_matches_the_reference(arguments, steps, index=None, rebuilt=False, atol=1e-5, least=0.8):
    """Compares the signals whose codes stay clear of the thresholds, at least that share of them."""
    expected, distance = reference.lista_gradient(*arguments, steps, index, rebuilt)
    found = srdfast.lista_gradient(*arguments, steps, index, rebuilt)
    assert found.shape == expected.shape and found.dtype == arguments[0].dtype
    clear = distance > CLEAR
    assert np.mean(clear) >= least
    np.testing.assert_allclose(found[clear], expected[clear], rtol=0, atol=atol)


@pytest.mark.parametrize("rebuilt", [False, True])
@pytest.mark.parametrize("atoms", [20, 80])  # one product of atoms x atoms a step, two of atoms x features
@pytest.mark.parametrize("steps", [1, 2, 3, 10])
@pytest.mark.parametrize("dtype, atol", [(np.float32, 1e-5), (np.float64, 1e-13)])
def test_the_float64_reference_is_matched(rng, steps, atoms, rebuilt, dtype, atol):
    arguments = problem(rng, atoms=atoms, dictionaries=3, rebuilt=rebuilt, dtype=dtype)
    assert_matches_the_reference(arguments, steps, rng.integers(0, 3, 40), rebuilt, atol)


@pytest.mark.parametrize("rebuilt", [False, True])
@pytest.mark.parametrize("steps", [1, 4])
def test_autograd_of_the_steps_in_torch_is_matched(rng, steps, rebuilt):
    torch = pytest.importorskip("torch")
    grad, signals, analysis, thresholds, synthesis = map(
        torch.from_numpy, problem(rng, rebuilt=rebuilt, dtype=np.float64)
    )
    signals.requires_grad_()
    codes = torch.zeros(40, 48, dtype=torch.float64)
    for _ in range(steps):
        moved = codes + (signals - codes @ synthesis) @ analysis.T
        codes = torch.sign(moved) * torch.relu(moved.abs() - thresholds)
    (expected,) = torch.autograd.grad(codes @ synthesis if rebuilt else codes, signals, grad)
    ours = srdfast.lista_gradient(grad, signals, analysis, thresholds, synthesis, steps, rebuilt=rebuilt)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("rebuilt", [False, True])
def test_torch_finds_the_slopes_by_the_signals_alone(rng, rebuilt):
    torch = pytest.importorskip("torch")
    _, signals, *learned = map(torch.from_numpy, problem(rng, 6, 20, 12, 2, dtype=np.float64))
    synthesis, index = learned[2], torch.tensor([0, 1, 1, 0, 1, 0])

    def function(signals):
        codes = torch.ops.srdfast.lista(signals, *learned, index, 3)
        return (codes[:, None] @ synthesis[index])[:, 0] if rebuilt else codes

    assert torch.autograd.gradcheck(function, signals.requires_grad_(), eps=1e-7, atol=1e-6)


def test_torch_finds_the_slopes_of_a_purification_by_the_images_alone(rng):
    torch = pytest.importorskip("torch")
    learned = map(torch.from_numpy, problem(rng, atoms=20, features=32, dictionaries=3, dtype=np.float64)[2:])
    images = torch.from_numpy(rng.normal(size=(2, 2, 7, 9))).requires_grad_()
    settings = *learned, torch.tensor([2, 0]), 3, 4, 3
    assert torch.autograd.gradcheck(
        lambda images: torch.ops.srdfast.purify_lista(images, *settings), images, eps=1e-7, atol=1e-6
    )


def test_the_kernel_gives_what_learning_gives(rng):
    torch = pytest.importorskip("torch")
    for rebuilt in (False, True):
        grad, *arguments = map(
            torch.from_numpy, problem(rng, dictionaries=3, rebuilt=rebuilt, dtype=np.float64)
        )
        arguments += [torch.from_numpy(rng.integers(0, 3, 40)), 3, rebuilt]
        alone, *nothing = torch.ops.srdfast.lista_gradient(grad, *arguments, False)
        together = torch.ops.srdfast.lista_gradient(grad, *arguments, True)[0]
        torch.testing.assert_close(alone, together, rtol=0, atol=1e-13)
        assert [part.numel() for part in nothing] == [0, 0, 0]


def test_prepared_both_ways_round_gives_the_same_bits(rng):
    for atoms in (20, 80):
        grad, signals, *learned = problem(rng, atoms=atoms, dictionaries=3)
        analysis, thresholds, synthesis = learned
        index = rng.integers(0, 3, 40)
        expected = srdfast.lista_gradient(grad, signals, *learned, 3, index)
        forward = srdfast.prepare(synthesis, analysis, thresholds)
        backward = srdfast.prepare(analysis, synthesis, thresholds)
        found = srdfast.lista_gradient(grad, signals, backward, None, forward, 3, index)
        np.testing.assert_array_equal(found, expected)


def test_a_code_that_just_reaches_its_threshold_does_not_move(rng):
    one = np.ones((1, 1), np.float32)
    for signal, slope in ((0.5, 0), (-0.5, 0), (0.25, 0), (0.625, 1), (-0.625, 1)):
        found = srdfast.lista_gradient(one, one * np.float32(signal), one, one[0] * np.float32(0.5), one)
        assert found == slope
    assert srdfast.lista_gradient(one, one * 0, one, one[0] * 0, one) == 0


def test_a_linear_and_a_silent_coder_are_the_two_ends(rng):
    grad, signals, analysis, thresholds, synthesis = problem(rng)
    linear = srdfast.lista_gradient(grad, signals, analysis, thresholds * 0, synthesis)
    np.testing.assert_allclose(linear, grad @ analysis, atol=1e-5)
    silent = srdfast.lista_gradient(grad, signals, analysis, thresholds + 1e6, synthesis, 3)
    assert not np.any(silent)


def test_a_gradient_that_is_not_finite_stays_with_its_signal(rng, request):
    if request.config.getoption("--on-gpu"):
        pytest.skip("tensor cores may take NaN for a number")
    grad, *arguments = problem(rng)
    expected = srdfast.lista_gradient(grad, *arguments, 3)
    grad[7] = np.nan
    found = srdfast.lista_gradient(grad, *arguments, 3)
    assert np.all(np.isnan(found[7]))
    np.testing.assert_array_equal(np.delete(found, 7, 0), np.delete(expected, 7, 0))


@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(0, 19),
    atoms=st.integers(1, 70),
    features=st.integers(1, 40),
    steps=st.integers(1, 4),
    rebuilt=st.booleans(),
)
def test_any_problem_matches_the_reference(seed, batch, atoms, features, steps, rebuilt):
    arguments = problem(np.random.default_rng(seed), batch, atoms, features, rebuilt=rebuilt)
    if batch == 0:
        assert srdfast.lista_gradient(*arguments, steps, rebuilt=rebuilt).shape == (0, features)
    else:
        assert_matches_the_reference(arguments, steps, None, rebuilt, least=0)


def test_errors_name_the_argument(rng):
    grad, signals, analysis, thresholds, synthesis = problem(rng, dictionaries=2)
    index = np.zeros(40, np.int64)
    good = dict(
        grad=grad,
        signals=signals,
        analysis=analysis,
        thresholds=thresholds,
        synthesis=synthesis,
        steps=2,
        index=index,
    )
    forward = srdfast.prepare(synthesis, analysis, thresholds)
    spoiled = signals.copy()
    spoiled[3] = np.inf
    for wrong, error, message in (
        (dict(grad=grad[:, 1:]), ValueError, "grad: expected .*one value per atom"),
        (dict(rebuilt=True), ValueError, "grad: expected .*one value per feature"),
        (dict(grad=grad[1:]), ValueError, "grad: expected .*one row per signal"),
        (dict(grad=grad[0]), ValueError, r"grad: expected .*\[batch, atoms\]"),
        (dict(signals=signals.astype(np.float64)), TypeError, "signals: expected float32"),
        (dict(signals=spoiled), ValueError, "signals: expected finite"),
        (dict(synthesis=synthesis[:, 1:]), ValueError, "synthesis: expected .*as analysis"),
        (dict(thresholds=thresholds[:, 1:]), ValueError, "thresholds: expected .*one threshold per atom"),
        (dict(thresholds=-thresholds), ValueError, "thresholds: expected values of at least 0"),
        (dict(thresholds=None), ValueError, "thresholds: expected an array"),
        (dict(steps=0), ValueError, "steps: expected a whole number of at least 1"),
        (dict(index=None), ValueError, "index"),
        (dict(index=index + 2), ValueError, "index: expected values from 0 to 1"),
        (dict(synthesis=forward), ValueError, "analysis, synthesis: expected both prepared"),
        (dict(synthesis=forward, analysis=forward), ValueError, "thresholds: expected None"),
        (
            dict(synthesis=forward, analysis=srdfast.prepare(synthesis), thresholds=None),
            ValueError,
            "analysis: expected dictionaries prepared with",
        ),
    ):
        arguments = {**good, **wrong}
        with pytest.raises(error, match=message):
            srdfast.lista_gradient(arguments.pop("grad"), **arguments)


@pytest.mark.parametrize("group", ["_one_by_one", "_all_at_once"])
def test_learning_meets_each_signal_once_with_its_dictionary(group):
    torch = pytest.importorskip("torch")
    from srdfast import lista_learned

    index = torch.tensor([4, 0, 4, 4, 2, 0])
    met = [
        (dictionary, row)
        for dictionaries, rows in getattr(lista_learned, group)(index, 6)
        for dictionary, own in zip(range(6)[dictionaries], rows.tolist(), strict=True)
        for row in own
        if row < len(index)
    ]
    assert sorted(met, key=lambda pair: pair[1]) == list(zip(index.tolist(), range(6), strict=True))


@pytest.mark.parametrize("change", ["all at once", "in pieces"])
def test_learning_is_the_same_however_the_signals_are_grouped(change, rng, monkeypatch):
    torch = pytest.importorskip("torch")
    from srdfast import lista_learned

    grad, signals, synthesis, analysis = (
        torch.from_numpy(rng.standard_normal(shape)) for shape in ((9, 7), (9, 7), (4, 11, 7), (4, 11, 7))
    )
    thresholds, index = (
        torch.full((4, 11), 0.1, dtype=torch.float64),
        torch.tensor([0, 3, 0, 1, 1, 1, 0, 3, 0]),
    )
    call = (grad, signals, analysis, thresholds, synthesis, index, 3, True)
    one_by_one = lista_learned.learned_gradients(*call)
    if change == "all at once":
        monkeypatch.setattr(lista_learned, "_one_by_one", lista_learned._all_at_once)
    else:
        monkeypatch.setattr(lista_learned, "ON_A_THREAD", 2)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    for mine, theirs in zip(lista_learned.learned_gradients(*call), one_by_one, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert one_by_one[1][2].eq(0).all() and one_by_one[1][3].ne(0).any()
