# SPDX-License-Identifier: Apache-2.0
"""What goes in and what comes out: array kinds, layouts, types, and a clear error for every bad input."""

import cases
import numpy as np
import pytest

import srdfast

coders = pytest.mark.parametrize("coder", cases.CODERS, ids=cases.CODER_IDS)
SIGNALS = np.ones((4, 6), np.float32)
ATOMS = np.eye(6, dtype=np.float32)
IMAGES = np.ones((2, 3, 8, 8), np.float32)
PATCH_ATOMS = np.ones((5, 192), np.float32)


# --- kinds and layouts --------------------------------------------------------------------------------------


@coders
def test_torch_in_torch_out(rng, coder):
    torch = pytest.importorskip("torch")
    signals, dictionary = cases.problem(rng)
    expected = coder(signals, dictionary)
    answer = coder(torch.from_numpy(signals), torch.from_numpy(dictionary))
    for part, other in zip(answer, expected, strict=True):
        assert isinstance(part, torch.Tensor) and part.device.type == "cpu"
        np.testing.assert_array_equal(part.numpy(), other)
    index = torch.zeros(len(signals), dtype=torch.int64)
    again = coder(torch.from_numpy(signals), torch.from_numpy(dictionary)[None], index=index)
    np.testing.assert_array_equal(again[0].numpy(), expected[0])
    assert all(isinstance(part, np.ndarray) for part in expected)


def test_torch_in_torch_out_for_images(rng):
    torch = pytest.importorskip("torch")
    images = rng.random((2, 3, 12, 12)).astype(np.float32)
    tensors = torch.from_numpy(images)
    for ours, theirs in zip(srdfast.split(tensors), srdfast.split(images), strict=True):
        assert isinstance(ours, torch.Tensor)
        np.testing.assert_array_equal(ours.numpy(), theirs)
    patches = srdfast.extract_patches(tensors, patch=4, stride=2)
    assert isinstance(patches, torch.Tensor)
    assert isinstance(srdfast.average_patches(patches, (3, 12, 12), patch=4, stride=2), torch.Tensor)
    _, dictionary = cases.problem(rng, features=48)
    purified = srdfast.purify_patches(tensors, torch.from_numpy(dictionary), srdfast.OMP(), patch=4, stride=2)
    assert isinstance(purified, torch.Tensor)
    np.testing.assert_array_equal(
        purified.numpy(), srdfast.purify_patches(images, dictionary, srdfast.OMP(), patch=4, stride=2)
    )


def test_codes_of_tensors_are_dense_and_reconstructed_as_tensors(rng):
    torch = pytest.importorskip("torch")
    signals, dictionary = map(torch.from_numpy, cases.problem(rng))
    codes = srdfast.omp(signals, dictionary, max_atoms=3)
    assert isinstance(codes.dense(), torch.Tensor)
    torch.testing.assert_close(codes.reconstruct(dictionary), codes.dense() @ dictionary)


@coders
def test_any_layout_gives_the_same_bits(rng, coder):
    signals, dictionary = cases.problem(rng)
    expected = coder(signals, dictionary)
    wide = np.zeros((80, 54), np.float32)
    wide[::2, ::2] = signals
    frozen = signals.copy()
    frozen.flags.writeable = False
    backwards = signals[::-1].copy()[::-1]
    unaligned = np.frombuffer(b"\0" + signals.tobytes(), np.uint8)[1:].view(np.float32).reshape(signals.shape)
    for same in (wide[::2, ::2], np.asfortranarray(signals), frozen, backwards, unaligned):
        np.testing.assert_array_equal(same, signals)
        before = same.tobytes()
        for part, other in zip(coder(same, np.asfortranarray(dictionary)), expected, strict=True):
            np.testing.assert_array_equal(part, other)
        assert same.tobytes() == before, "inputs are never written"


def test_image_layouts_give_the_same_bits(rng):
    images = rng.random((2, 3, 12, 10)).astype(np.float32)
    last = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)  # channels last
    frozen = images.copy()
    frozen.flags.writeable = False
    for same in (last, frozen, np.asfortranarray(images)):
        for ours, theirs in zip(srdfast.split(same), srdfast.split(images), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(
            srdfast.extract_patches(same, patch=3, stride=2),
            srdfast.extract_patches(images, patch=3, stride=2),
        )


@coders
def test_tensors_that_require_a_gradient_are_read(rng, coder):
    torch = pytest.importorskip("torch")
    signals, dictionary = cases.problem(rng)
    for mode in (torch.no_grad(), torch.inference_mode(), torch.enable_grad()):
        with mode:
            leaf = torch.from_numpy(signals.copy()).requires_grad_()
            answer = coder(leaf, torch.from_numpy(dictionary))
        np.testing.assert_array_equal(answer[0].detach().numpy(), coder(signals, dictionary)[0])


@coders
@pytest.mark.parametrize("storage", ["bfloat16", "float16"])
def test_half_types_are_storage_only(rng, coder, storage):
    torch = pytest.importorskip("torch")
    signals, dictionary = (
        torch.from_numpy(array).to(getattr(torch, storage)) for array in cases.problem(rng)
    )
    answer = coder(signals, dictionary)
    wide = coder(signals.float(), dictionary.float())
    for part, other in zip(answer, wide, strict=True):
        if part.is_floating_point():
            assert part.dtype == signals.dtype
            if "lista" not in coder.__name__:  # there the case itself scales the atoms, in half precision
                assert torch.equal(part, other.to(part.dtype))
        else:
            assert torch.equal(part, other)


def test_half_images_come_back_as_half(rng):
    torch = pytest.importorskip("torch")
    images = torch.from_numpy(rng.random((2, 3, 12, 12)).astype(np.float32)).to(torch.bfloat16)
    low, high = srdfast.split(images)
    wide_low, wide_high = srdfast.split(images.float())
    assert torch.equal(low, wide_low.to(torch.bfloat16)) and torch.equal(high, wide_high.to(torch.bfloat16))


@coders
def test_float64_computes_in_float64(rng, coder):
    signals, dictionary = cases.problem(rng, dtype=np.float64)
    wide, narrow = (
        coder(signals, dictionary),
        coder(signals.astype(np.float32), dictionary.astype(np.float32)),
    )
    for one, other in zip(wide, narrow, strict=True):
        assert one.dtype == (np.float64 if other.dtype == np.float32 else other.dtype)


# --- bad input ----------------------------------------------------------------------------------------------


def lista(signals=SIGNALS, analysis=ATOMS, thresholds=ATOMS[0], synthesis=ATOMS, **options):
    """`srdfast.lista` with good defaults."""
    return srdfast.lista(signals, analysis, thresholds, synthesis, **options)


def omp(signals=SIGNALS, dictionary=ATOMS, **options):
    """`srdfast.omp` with good defaults."""
    return srdfast.omp(signals, dictionary, **options)


def lasso(signals=SIGNALS, dictionary=ATOMS, **options):
    """`srdfast.lasso` with good defaults."""
    return srdfast.lasso(signals, dictionary, **options)


def split(images=IMAGES, **options):
    """`srdfast.split` with good defaults."""
    return srdfast.split(images, **options)


def purify(images=IMAGES, dictionary=PATCH_ATOMS, **options):
    """`srdfast.purify_patches` with good defaults."""
    return srdfast.purify_patches(images, dictionary, srdfast.OMP(), **options)


ARRAY_ARGUMENTS = [
    (omp, "signals", SIGNALS),
    (omp, "dictionary", ATOMS),
    (lasso, "signals", SIGNALS),
    (lasso, "dictionary", ATOMS),
    (lista, "signals", SIGNALS),
    (lista, "analysis", ATOMS),
    (lista, "thresholds", ATOMS[0]),
    (lista, "synthesis", ATOMS),
    (split, "images", IMAGES),
    (purify, "images", IMAGES),
    (purify, "dictionary", PATCH_ATOMS),
]
arrays = pytest.mark.parametrize(
    "call, name, good", ARRAY_ARGUMENTS, ids=[f"{call.__name__} {name}" for call, name, _ in ARRAY_ARGUMENTS]
)


@arrays
def test_what_is_no_array_is_a_type_error(call, name, good):
    for bad in (["a", "b"], "text", None, 3.0, object(), {"a": 1}):
        with pytest.raises(TypeError, match=name):
            call(**{name: bad})


@arrays
def test_a_wrong_element_type_is_a_type_error(call, name, good):
    for dtype in (np.int32, np.int64, np.complex64, np.bool_, object):
        with pytest.raises(TypeError, match=name):
            call(**{name: good.astype(dtype)})
    with pytest.raises(TypeError, match=name):
        call(**{name: np.full(good.shape, "a")})


@arrays
def test_a_wrong_rank_is_a_value_error(call, name, good):
    with pytest.raises(ValueError, match=name):
        call(**{name: good.reshape(1, 1, 1, 1, 1, *good.shape) if name != "images" else good.reshape(-1)})
    with pytest.raises(ValueError, match=name):
        call(**{name: np.array(1, np.float32)})


@pytest.mark.parametrize("call", [omp, lasso])
def test_element_types_must_agree(call):
    with pytest.raises(TypeError, match="dictionary"):
        call(dictionary=ATOMS.astype(np.float64))
    with pytest.raises(TypeError, match="dictionary"):
        call(signals=SIGNALS.astype(np.float64))


def test_element_types_of_lista_must_agree():
    for name, good in (("analysis", ATOMS), ("thresholds", ATOMS[0]), ("synthesis", ATOMS)):
        with pytest.raises(TypeError, match=name):
            lista(**{name: good.astype(np.float64)})


@pytest.mark.parametrize(
    "call, options, name",
    [
        (omp, {"dictionary": np.ones((5, 7), np.float32)}, "dictionary"),
        (omp, {"dictionary": np.ones((0, 6), np.float32)}, "dictionary"),
        (omp, {"signals": np.ones((4, 0), np.float32)}, "signals|dictionary"),
        (lasso, {"dictionary": np.ones((5, 7), np.float32)}, "dictionary"),
        (lista, {"synthesis": np.ones((6, 7), np.float32)}, "synthesis"),
        (lista, {"synthesis": np.ones((5, 6), np.float32)}, "synthesis|analysis"),
        (lista, {"analysis": np.ones((6, 7), np.float32)}, "analysis"),
        (lista, {"thresholds": np.ones(5, np.float32)}, "thresholds"),
        (lista, {"thresholds": np.ones((1, 1, 6), np.float32)}, "thresholds"),
        (lista, {"thresholds": np.full(6, -0.1, np.float32)}, "thresholds"),
        (purify, {"dictionary": np.ones((5, 191), np.float32)}, "dictionary"),
        (purify, {"images": np.ones((2, 1, 8, 8), np.float32)}, "dictionary|images"),
    ],
)
def test_shapes_that_do_not_fit_are_value_errors(call, options, name):
    with pytest.raises(ValueError, match=name):
        call(**options)


@pytest.mark.parametrize(
    "call, options",
    [
        (omp, {"max_atoms": 0}),
        (omp, {"max_atoms": -3}),
        (omp, {"tolerance": -1e-9}),
        (omp, {"tolerance": float("nan")}),
        (omp, {"selection": "best"}),
        (omp, {"selection": 3}),
        (omp, {"nonfinite": "ignore"}),
        (lasso, {"penalty": -0.1}),
        (lasso, {"penalty": 0.0}),
        (lasso, {"penalty": float("nan")}),
        (lasso, {"penalty": float("inf")}),
        (lasso, {"gap_tolerance": -1e-3}),
        (lasso, {"max_sweeps": 0}),
        (lasso, {"nonfinite": ""}),
        (lista, {"steps": 0}),
        (lista, {"steps": -1}),
        (lista, {"nonfinite": "drop"}),
        (split, {"strength": -1.0}),
        (split, {"strength": float("nan")}),
    ],
    ids=str,
)
def test_options_out_of_range_are_value_errors_that_say_what_came(call, options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=name) as caught:
        call(**options)
    assert str(value).lstrip("-")[:3] in str(caught.value)


@pytest.mark.parametrize(
    "call, options",
    [
        (omp, {"max_atoms": "4"}),
        (omp, {"max_atoms": 2.5}),
        (omp, {"tolerance": "small"}),
        (lasso, {"penalty": "0.1"}),
        (lasso, {"penalty": None}),
        (lasso, {"max_sweeps": 1.5}),
        (lista, {"steps": "2"}),
        (split, {"strength": "5"}),
    ],
    ids=str,
)
def test_options_of_a_wrong_type_are_type_errors(call, options):
    with pytest.raises(TypeError):
        call(**options)


MANY = np.stack([ATOMS, ATOMS])


@pytest.mark.parametrize("call", [omp, lasso, lista])
def test_the_index_is_checked(call):
    many = (
        {"analysis": MANY, "thresholds": MANY[:, 0], "synthesis": MANY}
        if call is lista
        else {"dictionary": MANY}
    )
    call(**many, index=np.array([0, 1, 1, 0]))
    call(**many, index=[0, 1, 1, 0])
    with pytest.raises(ValueError, match="index"):
        call(**many)
    for bad in ([0, 1, 2, 0], [0, -1, 0, 0], [0, 1, 0], [[0, 1, 0, 1]]):
        with pytest.raises(ValueError, match="index"):
            call(**many, index=np.array(bad))
    for bad in (np.zeros(4, np.float32), np.array(["a"] * 4), "0101"):
        with pytest.raises(TypeError, match="index"):
            call(**many, index=bad)


def test_the_stacks_of_lista_must_be_equally_high():
    index = np.zeros(4, np.int64)
    with pytest.raises(ValueError, match="thresholds"):
        lista(analysis=MANY, thresholds=np.ones((3, 6), np.float32), synthesis=MANY, index=index)
    with pytest.raises(ValueError, match=r"analysis|thresholds"):
        lista(analysis=np.concatenate([MANY, MANY]), thresholds=MANY[:, 0], synthesis=MANY, index=index)


@pytest.mark.parametrize("coder", [omp, lasso])
def test_reconstruction_checks_its_dictionary_and_index(coder):
    codes = coder()
    for index in ([0, 1, 2, 0], [0, -1, 0, 0], [0, 1]):
        with pytest.raises(ValueError, match="index"):
            codes.reconstruct(MANY, index=np.array(index))
    with pytest.raises(ValueError, match="index"):
        codes.reconstruct(MANY)
    with pytest.raises(ValueError, match="dictionary"):
        codes.reconstruct(ATOMS[:5])
    with pytest.raises(TypeError, match="dictionary"):
        codes.reconstruct(ATOMS.astype(np.int64))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@coders
def test_a_signal_that_is_not_finite_raises_or_becomes_zero_alone(rng, coder, bad):
    signals, dictionary = cases.problem(rng)
    expected = coder(signals, dictionary)
    spoiled = signals.copy()
    spoiled[7, 3] = spoiled[21, 0] = bad
    with pytest.raises(ValueError, match="signals"):
        coder(spoiled, dictionary)
    cleaned = np.where(np.isfinite(spoiled), spoiled, 0)
    answer = coder(spoiled, dictionary, nonfinite="zero")
    neighbours = np.delete(np.arange(len(signals)), [7, 21])
    for part, other, clean in zip(answer, expected, coder(cleaned, dictionary), strict=True):
        np.testing.assert_array_equal(part[neighbours], other[neighbours])
        np.testing.assert_array_equal(part, clean)
    assert np.isnan(spoiled[7, 3]) or np.isinf(spoiled[7, 3]), "the input is not written"


@pytest.mark.parametrize("call", [omp, lasso])
def test_a_dictionary_that_is_not_finite_raises(call):
    spoiled = ATOMS.copy()
    spoiled[2, 2] = np.nan
    with pytest.raises(ValueError, match="dictionary"):
        call(dictionary=spoiled)


def test_images_that_are_not_finite_raise():
    spoiled = IMAGES.copy()
    spoiled[1, 2, 3, 4] = np.inf
    for call in (split, purify):
        with pytest.raises(ValueError, match="images"):
            call(images=spoiled)


def test_mixed_kinds_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="dictionary"):
        omp(signals=torch.from_numpy(SIGNALS))
    with pytest.raises(TypeError, match="dictionary"):
        omp(dictionary=torch.from_numpy(ATOMS))


def test_a_device_that_is_not_the_cpu_is_named():
    torch = pytest.importorskip("torch")
    with pytest.raises(srdfast.DeviceError, match="meta"):
        omp(signals=torch.empty(4, 6, device="meta"), dictionary=torch.empty(6, 6, device="meta"))


def test_the_message_says_what_was_expected_and_what_came():
    with pytest.raises(ValueError) as caught:
        omp(dictionary=np.ones((5, 7), np.float32))
    assert "6" in str(caught.value) and "7" in str(caught.value)
    with pytest.raises(TypeError) as caught:
        omp(signals=SIGNALS.astype(np.int32))
    assert "int32" in str(caught.value) and "float32" in str(caught.value)
