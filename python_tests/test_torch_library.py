# SPDX-License-Identifier: Apache-2.0
"""The operators in torch's library: registered as torch wants, exact gradients, float32 under autocast."""

import gc
import weakref

import cases
import numpy as np
import pytest

import srdfast

torch = pytest.importorskip("torch")
from srdfast.derived import Recent  # noqa: E402
from srdfast.torch_gradients import coverage  # noqa: E402

ops = torch.ops.srdfast
PATCH, STRIDE = 4, 3
SHAPE = (2, 9, 11)


def tensors(seed=0, dtype=torch.float64, atoms=18, dictionaries=3):
    """Images, signals, and synthesis atoms, analysis atoms and thresholds of some dictionaries."""
    rng = np.random.default_rng(seed)
    features = SHAPE[0] * PATCH**2
    signals, synthesis = cases.problem(rng, 7, atoms, features, dictionaries)
    arrays = (
        rng.normal(size=(2, *SHAPE)),
        signals,
        synthesis,
        0.3 * cases.problem(rng, 7, atoms, features, dictionaries)[1],
        rng.uniform(0.02, 0.1, (dictionaries, atoms)),
    )
    return tuple(torch.from_numpy(array).to(dtype) for array in arrays)


def samples(dtype=torch.float64):
    """Arguments of every operator with a gradient; what is differentiated requires it."""
    images, signals, synthesis, analysis, thresholds = tensors(dtype=dtype)
    of_image, of_signal = torch.tensor([2, 0]), torch.tensor([0, 1, 2, 0, 1, 2, 2])
    images.requires_grad_(), signals.requires_grad_()
    learned = tuple(part.clone().requires_grad_() for part in (analysis, thresholds, synthesis))
    grid = PATCH, STRIDE
    rng = np.random.default_rng(1)
    gaussians = (
        rng.normal(size=(5, signals.shape[1])),
        rng.uniform(0.5, 2, (5, signals.shape[1])),
        np.zeros(5),
    )
    tables = srdfast.gaussian_tables(*gaussians).like(signals.detach())
    patches = ops.extract_patches(images.detach(), *grid).requires_grad_()
    support = torch.from_numpy(rng.normal(size=(7, synthesis.shape[1])) * (rng.random((7, 18)) < 0.2))
    indices = torch.tensor(
        [[3, -1, 5], [0, 1, 2], [-1, -1, -1], [17, 4, 9], [2, 7, -1], [6, 5, 4], [1, 0, 8]]
    )
    return {
        "split": (images, 5.0),
        "extract_patches": (images, *grid),
        "average_patches": (patches, SHAPE, *grid),
        "omp": (signals, synthesis, of_signal, 3, 0.0, "residual"),
        "lasso": (signals, synthesis, of_signal, 0.1, 1e-10, 5000),
        "lista": (signals, *learned, of_signal, 2),
        "purify_omp": (images, synthesis, of_image, 3, 0.0, "correlation", *grid),
        "purify_lasso": (images, synthesis, of_image, 0.1, 1e-10, 5000, *grid),
        "purify_lista": (images, *learned, of_image, 3, *grid),
        "assign": (signals, *tables.parts()),
        "support_gradient": (signals, support.to(dtype), synthesis, of_signal, True),
        "support_codes": (signals, indices.int(), synthesis, of_signal),
    }


every_operator = pytest.mark.parametrize("name", list(samples()))


@every_operator
def test_torch_finds_nothing_wrong(name):
    torch.library.opcheck(getattr(ops, name).default, samples(torch.float32)[name], rtol=1e-3, atol=1e-5)


@every_operator
def test_gradients_are_slopes(name):
    arguments = samples()[name]
    learned = [isinstance(part, torch.Tensor) and part.requires_grad for part in arguments]

    def function(*leaves):
        left = iter(leaves)
        results = getattr(ops, name)(
            *(next(left) if learns else part for part, learns in zip(arguments, learned, strict=True))
        )
        results = results if isinstance(results, tuple) else (results,)
        return tuple(result for result in results if result.requires_grad)

    leaves = [part for part, learns in zip(arguments, learned, strict=True) if learns]
    assert torch.autograd.gradcheck(function, leaves, eps=1e-6, atol=1e-5, fast_mode=True)


@pytest.mark.parametrize("steps", [1, 3])
def test_the_gradient_of_lista_is_that_of_its_steps_in_torch(steps):
    _, signals, *learned = tensors()
    synthesis, analysis, thresholds = (part[1].clone().requires_grad_() for part in learned)
    leaves = (signals.requires_grad_(), analysis, thresholds, synthesis)
    codes = torch.zeros(7, 18, dtype=torch.float64)
    for _ in range(steps):
        moved = codes + (signals - codes @ synthesis) @ analysis.T
        codes = torch.sign(moved) * torch.relu(moved.abs() - thresholds)
    ours = ops.lista(signals, analysis, thresholds, synthesis, None, steps)
    torch.testing.assert_close(ours, codes)
    weights = torch.randn_like(codes)
    expected = torch.autograd.grad((codes * weights).sum(), leaves)
    torch.testing.assert_close(torch.autograd.grad((ours * weights).sum(), leaves), expected)


def test_only_what_is_wanted_gets_a_gradient():
    images, *learned, index, steps, patch, stride = samples()["purify_lista"]
    learned[1] = learned[1].detach()
    ops.purify_lista(images.detach(), *learned, index, steps, patch, stride).sum().backward()
    assert images.grad is None and learned[1].grad is None
    assert all(torch.any(part.grad != 0) for part in (learned[0], learned[2]))
    with pytest.raises(RuntimeError):  # a margin has no gradient
        ops.assign(*samples()["assign"])[1].sum().backward()


def test_the_array_functions_are_matched():
    images, signals, synthesis, analysis, thresholds = tensors(dtype=torch.float32)
    index, of_image = torch.tensor([0, 1, 2, 0, 1, 2, 2]), torch.tensor([1, 2])
    codes = srdfast.omp(signals, synthesis, 3, index=index)
    for one, other in zip(
        ops.omp(signals, synthesis, index, 3, 0.0, "correlation"),
        (codes.values, codes.indices, codes.counts),
        strict=True,
    ):
        assert torch.equal(one, other)
    rebuilt = srdfast.purify_patches(
        images, synthesis, srdfast.LISTA(2), analysis, thresholds, of_image, PATCH, STRIDE
    )
    assert torch.equal(
        ops.purify_lista(images, analysis, thresholds, synthesis, of_image, 2, PATCH, STRIDE), rebuilt
    )
    for one, other in zip(ops.split(images, 2.0), srdfast.split(images, 2.0), strict=True):
        assert torch.equal(one, other)


@every_operator
def test_autocast_computes_in_float32(name):
    arguments = [
        part.detach() if isinstance(part, torch.Tensor) else part for part in samples(torch.float32)[name]
    ]
    halves = [
        part.bfloat16() if isinstance(part, torch.Tensor) and part.is_floating_point() else part
        for part in arguments
    ]
    back = [
        part.float() if isinstance(part, torch.Tensor) and part.is_floating_point() else part
        for part in halves
    ]
    plain = getattr(ops, name)(*back)
    with torch.autocast("cpu", torch.bfloat16):
        cast = getattr(ops, name)(*halves)
    for one, other in zip(
        *(part if isinstance(part, tuple) else (part,) for part in (cast, plain)), strict=True
    ):
        assert one.dtype == other.dtype and torch.equal(one, other)


def test_errors_name_the_argument():
    images, signals, synthesis, *_ = tensors(dtype=torch.float32)
    with pytest.raises(ValueError, match="index"):
        ops.omp(signals, synthesis, None, 3, 0.0, "correlation")
    with pytest.raises(ValueError, match=r"images: expected finite"):
        ops.split(images * float("nan"), 5.0)
    with pytest.raises(ValueError, match="stride"):
        ops.extract_patches(images, PATCH, PATCH + 1)


@pytest.mark.parametrize("size", [(8, 8), (9, 11), (20, 13)])
@pytest.mark.parametrize("stride", [1, 3, 5, 8])
def test_coverage_counts_patches(size, stride):
    """The adjoint of extraction at ones, by extraction itself: how often each pixel comes."""
    numbers = torch.arange(size[0] * size[1], dtype=torch.float64).reshape(1, 1, *size)
    counts = torch.bincount(
        ops.extract_patches(numbers, 8, stride).flatten().long(), minlength=numbers.numel()
    )
    assert torch.equal(coverage(numbers, 8, stride).flatten().long(), counts)


def test_tables_are_made_anew_for_atoms_that_changed():
    _, signals, synthesis, *_ = tensors(dtype=torch.float32)
    dictionary = synthesis[0].clone()

    def values():
        return ops.omp(signals, dictionary, None, 3, 0.0, "correlation")[0]

    before = values()
    assert torch.equal(values(), before)
    dictionary.copy_(synthesis[1])
    assert torch.equal(values(), srdfast.omp(signals, synthesis[1], 3).values)
    assert not torch.equal(values(), before)


def test_what_is_kept_of_tensors_does_not_keep_them():
    recent, made = Recent(most=2), []

    def make():
        made.append(object())
        return made[-1]

    first, second, third = (torch.zeros(2) for _ in range(3))
    assert recent.of([first], make) is recent.of([first], make) and len(made) == 1
    first.add_(1)
    assert recent.of([first], make) is made[1]
    recent.of([second], make), recent.of([third], make)
    assert len(made) == 4
    recent.of([first], make)  # two are kept, and it was the least recently used
    assert len(made) == 5
    alive = weakref.ref(third)
    del third
    gc.collect()
    assert alive() is None
