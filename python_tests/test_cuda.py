# SPDX-License-Identifier: Apache-2.0
"""Arrays on a GPU: the same answers as on the CPU, the errors of the CPU, and what only a GPU has."""

import os

import cases
import numpy as np
import pytest
from devices import EMULATED, back, cuda_or_skip, on_device

import srdfast
from srdfast import _core

pytestmark = pytest.mark.gpu

real_gpu = pytest.mark.skipif(EMULATED, reason="threads of the CPU have neither streams nor graphs")
BATCH, ATOMS = 14, 24


def assert_agree(coder, mine, theirs, signals, dictionary, index=None):
    """Equal up to rounding; for the lasso, whose codes may stop a sweep apart, equal objectives."""
    if coder is cases.lasso:
        energy = 0.5 * (signals.astype(np.float64) ** 2).sum(1)
        one, other = (objective(signals, dictionary, codes[0], index) for codes in (mine, theirs))
        assert np.all(np.abs(one - other) <= 2e-5 * energy)  # the gap tolerance is 1e-5
        assert np.all(theirs[1] <= 1.01e-5 * energy)  # else the problem asks for more sweeps than there are
        assert np.all(mine[1] <= 1.01e-5 * energy)
        return
    for one, other in zip(mine, theirs, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, atol=2e-5)


def objective(signals, dictionary, codes, index):
    """1/2 |x - zD|^2 + penalty |z|_1 of each signal, in float64."""
    atoms = dictionary if index is None else dictionary[index]
    codes, atoms = codes.astype(np.float64), atoms.astype(np.float64)
    rebuilt = np.einsum("na,naf->nf", codes, atoms) if atoms.ndim == 3 else codes @ atoms
    return 0.5 * ((signals - rebuilt) ** 2).sum(1) + 0.1 * np.abs(codes).sum(1)


@pytest.fixture
def cuda(monkeypatch):
    return cuda_or_skip(monkeypatch)


def test_cuda_info_names_the_devices_or_says_why_there_are_none():
    info = _core.cuda_info()
    assert bool(info["devices"]) != bool(info["why_none"])
    assert srdfast.build_info()["cuda"] == bool(info["devices"])
    assert EMULATED or all(
        device["memory"] > 0 and device["multiprocessors"] > 0 for device in info["devices"]
    )


@pytest.mark.skipif(EMULATED, reason="no toolkit")
def test_a_build_with_cuda_tells_toolkit_and_architectures():
    info = _core.cuda_info()
    assert info["built"] == _core.cuda_built == bool(info["toolkit"]) == bool(info["architectures"])
    if info["built"]:
        assert tuple(map(int, info["toolkit"].split("."))) >= (12, 8)


@pytest.fixture
def problem(rng):
    """Signals [14, 27], dictionaries [3, 24, 27] and the index [14] of each signal's own."""
    signals, dictionary = cases.problem(rng, BATCH, ATOMS, 27, dictionaries=3)
    return signals, dictionary, rng.integers(0, 3, BATCH)


@pytest.mark.parametrize("coder", cases.CODERS, ids=cases.CODER_IDS)
def test_codes_are_those_of_the_cpu(cuda, problem, coder):
    signals, dictionary, index = problem
    found = coder(*on_device(cuda, signals, dictionary), index=on_device(cuda, index))
    assert all(part.device == cuda for part in found)
    expected = coder(signals, dictionary, index=index)
    assert_agree(coder, [back(part) for part in found], expected, signals, dictionary, index)


@pytest.mark.parametrize("coder", cases.CODERS, ids=cases.CODER_IDS)
def test_one_dictionary_needs_no_index(cuda, problem, coder):
    signals, dictionary = problem[0], problem[1][0]
    found = coder(*on_device(cuda, signals, dictionary))
    assert_agree(coder, [back(part) for part in found], coder(signals, dictionary), signals, dictionary)


def test_a_start_of_the_lasso_is_refused(cuda, problem):
    signals, dictionary, _ = problem
    start = np.zeros((BATCH, ATOMS), np.float32)
    with pytest.raises(srdfast.DeviceError, match="start, rounds: expected None on a GPU"):
        srdfast.lasso(*on_device(cuda, signals, dictionary[0]), start=on_device(cuda, start))


@pytest.mark.parametrize("coder", cases.CODERS, ids=cases.CODER_IDS)
def test_what_shared_memory_cannot_hold_lies_in_the_workspace(cuda, rng, monkeypatch, coder):
    monkeypatch.setenv("SRDFAST_EMULATED_SHARED", "0")
    atoms, features = (ATOMS, 27) if EMULATED else (2000, 1200)
    signals, dictionary = cases.problem(rng, BATCH, atoms, features, dictionaries=2)
    index = rng.integers(0, 2, BATCH)
    if coder is cases.lasso and not EMULATED:
        # Supports of 0 to 120 atoms; of a thousand, sweeps would not come to the gap for minutes.
        signals *= np.linspace(0.03, 0.06, BATCH, dtype=np.float32)[:, None]
    found = coder(*on_device(cuda, signals, dictionary), index=on_device(cuda, index))
    expected = coder(signals, dictionary, index=index)
    assert_agree(coder, [back(part) for part in found], expected, signals, dictionary, index)


@pytest.mark.skipif(EMULATED, reason="the Gram matrix takes threads minutes; csrc/tests has the case")
@pytest.mark.parametrize("coder", [cases.omp, cases.omp_residual], ids=["correlation", "residual"])
def test_pursuit_among_more_atoms_than_registers_hold(cuda, rng, coder):
    signals, dictionary = cases.problem(rng, 3, 1030, 10)
    indices, values, counts = (back(part) for part in coder(*on_device(cuda, signals, dictionary)))
    expected = coder(signals, dictionary)
    np.testing.assert_array_equal(indices, expected[0])
    np.testing.assert_allclose(values, expected[1], atol=2e-5)
    np.testing.assert_array_equal(counts, expected[2])


@pytest.mark.parametrize("coder", [srdfast.OMP(3), srdfast.Lasso(0.05), srdfast.LISTA(2)], ids=str)
def test_prepared_dictionaries_give_the_same_bits(cuda, rng, coder):
    images = on_device(cuda, (rng.random((4, 3, 11, 10)) - 0.5).astype(np.float32))
    synthesis = on_device(cuda, cases.problem(rng, atoms=20, features=48, dictionaries=3)[1])
    index = on_device(cuda, np.array([2, 0, 1, 2]))
    learned = (
        (0.3 * synthesis, synthesis[..., 0] * 0 + 0.02) if isinstance(coder, srdfast.LISTA) else (None, None)
    )
    prepared = srdfast.prepare(synthesis, *learned)
    expected = srdfast.purify_patches(images, synthesis, coder, *learned, index=index, patch=4)
    synthesis.zero_()  # what was prepared is a copy
    found = srdfast.purify_patches(images, prepared, coder, index=index, patch=4)
    np.testing.assert_array_equal(back(found), back(expected))


@pytest.mark.parametrize("steps", [1, 3])
def test_gradients_by_reconstructions_are_those_of_the_cpu(cuda, problem, rng, steps):
    signals, dictionary, index = problem
    grad = rng.normal(size=signals.shape).astype(np.float32)
    learned = 0.2 * dictionary, dictionary[..., 0] * 0 + np.float32(0.05), dictionary
    expected = srdfast.lista_gradient(grad, signals, *learned, steps, index, rebuilt=True)
    moved = on_device(cuda, grad, signals, *learned)
    found = srdfast.lista_gradient(*moved, steps, on_device(cuda, index), rebuilt=True)
    np.testing.assert_allclose(back(found), expected, atol=2e-5)
    analysis, thresholds, synthesis = moved[2:]
    backward = srdfast.prepare(analysis, synthesis, thresholds)
    forward = srdfast.prepare(synthesis, analysis, thresholds)
    again = srdfast.lista_gradient(
        *moved[:2], backward, None, forward, steps, on_device(cuda, index), rebuilt=True
    )
    np.testing.assert_array_equal(back(again), back(found))


@pytest.mark.parametrize("rebuilt", [False, True])
def test_gradients_on_large_supports_are_those_of_the_cpu(cuda, rng, rebuilt):
    signals, dictionary = cases.problem(rng, 7, 150, 140, dictionaries=2)
    codes = rng.normal(size=(7, 150)) * (rng.random((7, 150)) < np.linspace(0, 0.7, 7)[:, None])
    codes = codes.astype(np.float32)  # supports from 0 to about 105 atoms; shared memory takes 64
    given, index = signals if rebuilt else codes, rng.integers(0, 2, 7)
    expected = srdfast.support_gradient(given, codes, dictionary, index, rebuilt)
    moved = on_device(cuda, given, codes, dictionary, index)
    found = srdfast.support_gradient(*moved, rebuilt)
    np.testing.assert_allclose(back(found), expected, atol=1e-3 * np.abs(expected).max())
    prepared = srdfast.prepare(moved[2])
    again = srdfast.support_gradient(*moved[:2], prepared, moved[3], rebuilt)
    np.testing.assert_array_equal(back(again), back(found))
    alone = srdfast.support_gradient(moved[0][4:5], moved[1][4:5], prepared, moved[3][4:5], rebuilt)
    np.testing.assert_array_equal(back(alone), back(found)[4:5])


@pytest.mark.parametrize("coder", ["omp", "lasso"])
def test_a_purification_is_differentiated_as_on_the_cpu(cuda, problem, rng, coder, monkeypatch):
    import torch

    images = rng.normal(size=(2, 3, 5, 6)).astype(np.float32)
    dictionary = problem[1]
    grad = rng.normal(size=images.shape).astype(np.float32)
    settings = {"omp": (3, 0.0, "correlation"), "lasso": (0.2, 1e-6, 1000)}[coder]

    def gradient(*arrays):
        leaf, atoms, index, slopes = map(torch.as_tensor, arrays)
        leaf.requires_grad_()
        purified = getattr(torch.ops.srdfast, f"purify_{coder}")(leaf, atoms, index, *settings, 3, 2)
        return torch.autograd.grad(purified, leaf, slopes)[0]

    arrays = images, dictionary, np.array([2, 0]), grad
    found = gradient(*on_device(cuda, *arrays))
    monkeypatch.undo()  # torch's arrays are on the CPU again, also where they stood in for a GPU's
    np.testing.assert_allclose(back(found), back(gradient(*arrays)), atol=1e-3)


def test_split_and_patches_are_those_of_the_cpu(cuda, rng):
    images = rng.random((2, 3, 13, 18)).astype(np.float32)
    moved = on_device(cuda, images)
    for mine, theirs in zip(srdfast.split(moved), srdfast.split(images), strict=True):
        np.testing.assert_allclose(back(mine), theirs, atol=1e-5)
    patches = srdfast.extract_patches(moved, 4, 3)
    np.testing.assert_array_equal(back(patches), srdfast.extract_patches(images, 4, 3))
    averaged = srdfast.average_patches(patches, (3, 13, 18), 4, 3)
    np.testing.assert_allclose(back(averaged), images, atol=1e-6)


@pytest.mark.parametrize("size", [(66, 250), (65, 96), (64, 19), (13, 224)], ids=str)
def test_long_planes_are_split_as_on_the_cpu(cuda, rng, size):
    images = rng.random((2, 3, *size)).astype(np.float32)
    for strength in (0.0, 5.0, 1e6):
        bands = srdfast.split(on_device(cuda, images), strength)
        for mine, theirs in zip(bands, srdfast.split(images, strength), strict=True):
            np.testing.assert_allclose(back(mine), theirs, atol=4e-6)


@pytest.mark.parametrize("size", [(96, 130), (77, 1080)], ids=str)
def test_a_long_plane_has_the_same_bits_whatever_the_batch(cuda, rng, size):
    """More planes make larger blocks."""
    images = on_device(cuda, rng.random((40, 1, *size)).astype(np.float32))
    for alone, together in zip(srdfast.split(images[7:8]), srdfast.split(images), strict=True):
        np.testing.assert_array_equal(back(alone)[0], back(together)[7])


def test_results_can_be_written_into_kept_arrays(cuda, rng):
    images = on_device(cuda, rng.random((2, 3, 9, 12)).astype(np.float32))
    kept = images * 0, images * 0
    assert srdfast.split(images, out=kept) is kept
    for mine, theirs in zip(kept, srdfast.split(images), strict=True):
        np.testing.assert_array_equal(back(mine), back(theirs))


@pytest.mark.parametrize("coder", cases.CODERS, ids=cases.CODER_IDS)
def test_no_signals(cuda, problem, coder):
    signals, dictionary, index = on_device(cuda, *problem)
    assert all(len(part) == 0 for part in coder(signals[:0], dictionary, index=index[:0]))


@pytest.mark.parametrize("coder", cases.CODERS, ids=cases.CODER_IDS)
def test_a_signal_has_the_same_bits_whatever_the_batch(cuda, problem, coder):
    signals, dictionary, index = on_device(cuda, *problem)
    together = coder(signals, dictionary, index=index)
    for rows in (slice(7, 8), slice(3, BATCH)):
        alone = coder(signals[rows], dictionary, index=index[rows])
        for mine, theirs in zip(alone, together, strict=True):
            np.testing.assert_array_equal(back(mine), back(theirs[rows]))


def test_wrong_values_are_named_as_on_the_cpu(cuda, problem):
    signals, dictionary, index = problem
    signals = signals.copy()
    signals[5, 3] = np.nan
    for place in (lambda *parts: parts, lambda *parts: on_device(cuda, *parts)):
        with pytest.raises(
            ValueError, match="signals: expected finite values, got NaN or infinity in entry 5"
        ):
            moved, atoms, numbers = place(signals, dictionary, index)
            srdfast.omp(moved, atoms, index=numbers)
        clean, atoms, numbers = place(problem[0], dictionary, index + 1)
        first = int(np.flatnonzero(index == 2)[0])
        with pytest.raises(
            ValueError, match=f"index: expected values from 0 to 2, got 3 at position {first}"
        ):
            srdfast.lasso(clean, atoms, index=numbers)
        with pytest.raises(ValueError, match="thresholds: expected values of at least 0"):
            srdfast.lista(clean, atoms, atoms[..., 0] * 0 - 1, atoms, index=numbers)


def test_a_number_that_names_no_atom_is_refused_where_values_are_looked_at(cuda, problem):
    signals, dictionary, index = problem
    support = np.array([[1, -1, 3]] * BATCH, np.int32)
    wrong = support.copy()
    wrong[5, 1] = ATOMS
    for place in (lambda *parts: parts, lambda *parts: on_device(cuda, *parts)):
        moved, atoms, numbers = place(signals, dictionary, index)
        with pytest.raises(
            ValueError, match="support: expected atoms from 0 to 23, or -1, got 24 in entry 5"
        ):
            srdfast.support_gradient(moved, place(wrong, 0)[0], atoms, numbers, rebuilt=True)
    moved = on_device(cuda, signals, support, dictionary, index)
    found = srdfast.support_gradient(*moved, rebuilt=True)
    moved[1] = on_device(cuda, wrong)
    np.testing.assert_array_equal(
        back(srdfast.support_gradient(*moved, rebuilt=True, nonfinite=None)), back(found)
    )


def test_nan_can_be_taken_for_zero(cuda, problem):
    signals, dictionary, index = problem
    broken, zeroed = signals.copy(), signals.copy()
    broken[5, 3], zeroed[5, 3] = np.inf, 0
    atoms, numbers = on_device(cuda, dictionary, index)
    found = srdfast.omp(on_device(cuda, broken), atoms, index=numbers, nonfinite="zero")
    np.testing.assert_array_equal(
        back(found.values), back(srdfast.omp(on_device(cuda, zeroed), atoms, index=numbers).values)
    )


def test_float64_is_for_the_cpu(cuda, problem):
    signals, dictionary, index = on_device(cuda, *problem)
    with pytest.raises(srdfast.DeviceError, match="GPUs compute in float32"):
        srdfast.omp(signals.double(), dictionary.double(), index=index)


def test_half_precision_is_storage(cuda, problem):
    signals, dictionary, index = on_device(cuda, *problem)
    found = srdfast.omp(signals.half(), dictionary.half(), index=index)
    expected = srdfast.omp(signals.half().float(), dictionary.half().float(), index=index)
    assert found.values.dtype == signals.half().dtype
    np.testing.assert_array_equal(back(found.values), back(expected.values.half()))


def test_lists_are_an_index(cuda, problem):
    signals, dictionary, index = problem
    moved = on_device(cuda, signals, dictionary)
    one = srdfast.omp(*moved, index=index.tolist())
    np.testing.assert_array_equal(
        back(one.values), back(srdfast.omp(*moved, index=on_device(cuda, index)).values)
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_is_refused(cuda, problem):
    signals, dictionary, index = on_device(cuda, *problem)
    srdfast.omp(signals, dictionary, index=index)
    child = os.fork()
    if child == 0:
        try:
            srdfast.omp(signals, dictionary, index=index)
            code = 1
        except srdfast.DeviceError as error:
            code = 0 if "forked" in str(error) else 2
        except BaseException:  # a GPU's own error would do, but ours comes first
            code = 3
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@real_gpu
def test_arrays_of_two_devices_do_not_mix(cuda, problem):
    signals, dictionary, index = problem
    with pytest.raises(TypeError, match="dictionary: expected a torch"):
        srdfast.omp(on_device(cuda, signals), on_device("cpu", dictionary), index=on_device(cuda, index))


@real_gpu
def test_prepared_dictionaries_stay_on_their_device(cuda, problem):
    signals, dictionary, index = problem
    with pytest.raises(srdfast.DeviceError, match="dictionary: expected an array in CPU memory"):
        srdfast.omp(signals, srdfast.prepare(on_device(cuda, dictionary)), index=index)
    with pytest.raises(srdfast.DeviceError, match="dictionary: expected an array in cuda:"):
        srdfast.omp(on_device(cuda, signals), srdfast.prepare(dictionary), index=on_device(cuda, index))


@real_gpu
@pytest.mark.parametrize("coder", cases.CODERS, ids=cases.CODER_IDS)
def test_the_same_bits_over_100_runs(cuda, problem, coder):
    moved = on_device(cuda, *problem)
    first = [back(part) for part in coder(*moved[:2], index=moved[2])]
    for _ in range(100):
        for mine, theirs in zip(coder(*moved[:2], index=moved[2]), first, strict=True):
            np.testing.assert_array_equal(back(mine), theirs)


@real_gpu
def test_kernels_run_on_the_current_stream(cuda, problem):
    import torch

    signals, dictionary, index = on_device(cuda, *problem)
    expected = srdfast.lista(
        signals, dictionary * 0.2, dictionary[..., 0] * 0, dictionary, index=index
    ).values
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        late = signals.clone()
        late.zero_()
        torch.cuda._sleep(50_000_000)  # a kernel on another stream would read the zeros
        late.copy_(signals)
        found = srdfast.lista(late, dictionary * 0.2, dictionary[..., 0] * 0, dictionary, index=index).values
    torch.cuda.current_stream().wait_stream(stream)
    np.testing.assert_array_equal(back(found), back(expected))


@real_gpu
@pytest.mark.parametrize("coder", cases.CODERS, ids=cases.CODER_IDS)
def test_a_call_can_be_captured_into_a_graph(cuda, problem, coder):
    import torch

    signals, dictionary, index = on_device(cuda, *problem)
    coder(signals, dictionary, index=index)  # loads the kernels
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = coder(signals, dictionary, index=index)
    signals.mul_(-0.5)
    expected = [back(part) for part in coder(signals, dictionary, index=index)]
    for _ in range(100):
        graph.replay()
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(back(mine), theirs)


@real_gpu
@pytest.mark.parametrize("settings", [("omp", 4, 0.0, "residual"), ("lasso", 0.1, 1e-5, 500)], ids=str)
def test_backward_neither_waits_nor_resists_a_graph(cuda, problem, settings):
    import torch

    signals, dictionary, index = on_device(cuda, *problem)
    signals.requires_grad_()
    coder = getattr(torch.ops.srdfast, settings[0])

    def gradient():
        values = coder(signals, dictionary, index, *settings[1:])[0]
        return torch.autograd.grad(values.square().sum(), signals)[0]

    gradient()  # loads the kernels and makes the tables, for which it waits
    torch.cuda.set_sync_debug_mode("error")
    try:
        expected = gradient()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = gradient()
    graph.replay()
    np.testing.assert_array_equal(back(found), back(expected))


@real_gpu
def test_cupy_arrays_on_the_legacy_and_the_per_thread_stream(cuda, problem):
    cupy = pytest.importorskip("cupy")
    signals, dictionary, index = map(cupy.asarray, problem)
    expected = srdfast.omp(*problem[:2], index=problem[2])
    for stream in (cupy.cuda.Stream.null, cupy.cuda.Stream.ptds, cupy.cuda.Stream(non_blocking=True)):
        cupy.cuda.Device().synchronize()
        with stream:
            found = srdfast.omp(signals, dictionary, index=index)
            assert isinstance(found.values, cupy.ndarray)
            np.testing.assert_array_equal(found.indices.get(), expected.indices)
            np.testing.assert_allclose(found.values.get(), expected.values, atol=2e-5)
