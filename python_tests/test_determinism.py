# SPDX-License-Identifier: Apache-2.0
"""The same bits for any batch, any thread count and many dictionaries; the same answer on every CPU level."""

import cases
import numpy as np
import pytest

import srdfast

coders = pytest.mark.parametrize("coder", cases.CODERS, ids=cases.CODER_IDS)


def assert_same_bits(ours, theirs):
    """Arrays equal bit for bit."""
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def threads():
    """`set_num_threads`, undone after the test."""
    before = srdfast.get_num_threads()
    yield srdfast.set_num_threads
    srdfast.set_num_threads(before)


@coders
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_code_does_not_depend_on_the_batch_around_it(rng, coder, dtype):
    signals, dictionary = cases.problem(rng, batch=53, dtype=dtype)
    whole = coder(signals, dictionary)
    assert_same_bits(coder(signals, dictionary), whole)
    order = rng.permutation(53)
    assert_same_bits(coder(signals[order], dictionary), [part[order] for part in whole])
    for row in (0, 1, 17, 52):
        assert_same_bits(coder(signals[row : row + 1], dictionary), [part[row : row + 1] for part in whole])
    for start, stop in ((0, 7), (5, 13), (16, 53)):
        assert_same_bits(coder(signals[start:stop], dictionary), [part[start:stop] for part in whole])
    others = rng.normal(size=(90, signals.shape[1])).astype(dtype)
    among = np.concatenate([others[:31], signals, others[31:]])
    assert_same_bits([part[31:84] for part in coder(among, dictionary)], whole)


@coders
def test_the_thread_count_changes_no_bit(rng, coder, threads):
    signals, dictionary = cases.problem(rng, batch=200, dictionaries=3)
    index = rng.integers(0, 3, 200)
    answers = []
    for count in (1, 2, 3, 7):
        threads(count)
        assert srdfast.get_num_threads() == count
        answers.append(coder(signals, dictionary, index=index))
    for answer in answers[1:]:
        assert_same_bits(answer, answers[0])


def test_the_thread_count_changes_no_bit_of_split_patches_and_purification(rng, threads):
    images = rng.random((5, 3, 20, 23)).astype(np.float32)
    _, dictionary = cases.problem(rng, features=48)
    answers = []
    for count in (1, 2, 3):
        threads(count)
        low, high = srdfast.split(images)
        patches = srdfast.extract_patches(high, patch=4, stride=2)
        back = srdfast.average_patches(patches * np.float32(0.7), (3, 20, 23), patch=4, stride=2)
        purified = [
            srdfast.purify_patches(high, dictionary, coder, patch=4, stride=2)
            for coder in (srdfast.OMP(), srdfast.Lasso())
        ]
        answers.append([low, high, patches, back, *purified])
    for answer in answers[1:]:
        assert_same_bits(answer, answers[0])


@coders
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_dictionaries_are_as_many_calls(rng, coder, dtype):
    signals, dictionary = cases.problem(rng, batch=61, dictionaries=5, dtype=dtype)
    index = rng.integers(0, 5, 61)
    index[:3], index[-1] = 4, 0
    together = coder(signals, dictionary, index=index)
    for chosen in range(5):
        rows = index == chosen
        assert_same_bits([part[rows] for part in together], coder(signals[rows], dictionary[chosen]))
    for integer in (np.int32, np.int64):
        assert_same_bits(coder(signals, dictionary, index=index.astype(integer)), together)
    one = coder(signals, dictionary[:1])  # a stack of one needs no index
    assert_same_bits(one, coder(signals, dictionary[0]))
    assert_same_bits(coder(signals, dictionary[:1], index=np.zeros(61, np.int64)), one)


def test_reconstruct_uses_the_dictionary_of_every_signal(rng):
    signals, dictionary = cases.problem(rng, dictionaries=3)
    index = rng.integers(0, 3, len(signals))
    codes = srdfast.omp(signals, dictionary, max_atoms=4, index=index)
    expected = np.einsum("ba,baf->bf", codes.dense(), dictionary[index])
    np.testing.assert_allclose(codes.reconstruct(dictionary, index=index), expected, atol=1e-5)
    codes = srdfast.lasso(signals, dictionary, index=index)
    expected = np.einsum("ba,baf->bf", codes.values, dictionary[index])
    np.testing.assert_allclose(codes.reconstruct(dictionary, index=index), expected, atol=1e-5)


LEVEL_PROGRAM = """
import json, sys
import cases, numpy as np, srdfast
rng = np.random.default_rng(1)
signals, dictionary = cases.problem(rng, batch=30, atoms=70, features=75)
answers = {}
for coder in cases.CODERS:
    answers[coder.__name__] = [part.tolist() for part in coder(signals, dictionary)]
images = rng.random((2, 3, 15, 17)).astype(np.float32)
low, high = srdfast.split(images)
answers["split"] = [low.tolist(), high.tolist()]
answers["purify"] = [srdfast.purify_patches(high, dictionary, srdfast.OMP(), patch=5, stride=2).tolist()]
print(json.dumps(answers))
"""


def test_every_cpu_level_gives_the_same_answer(of_every_level):
    answers = of_every_level(LEVEL_PROGRAM)
    for answer in answers:
        gap = answer["lasso"].pop()  # where a level stops is its own affair, as long as the certificate holds
        assert 0 <= min(gap) and max(gap) <= 1e-5 * 75
    first, *rest = answers
    for other in rest:
        assert other["omp"][0] == first["omp"][0] and other["omp"][2] == first["omp"][2]
        assert other["omp_residual"][0] == first["omp_residual"][0]
        for name, parts in first.items():
            for one, two in zip(parts, other[name], strict=True):
                np.testing.assert_allclose(one, two, atol=5e-3 if name == "lasso" else 1e-5)


def test_an_unknown_cpu_level_is_refused_by_name(python):
    done = python("import srdfast; print(srdfast.build_info())", check=False, SRDFAST_CPU_LEVEL="v9")
    assert done.returncode != 0
    message = done.stderr.splitlines()[-1]
    assert "SRDFAST_CPU_LEVEL" in message and "v9" in message and "v2" in message


def test_the_chosen_cpu_level_is_reported(python):
    assert "v2" in python("import srdfast; print(srdfast.build_info())", SRDFAST_CPU_LEVEL="v2").stdout
