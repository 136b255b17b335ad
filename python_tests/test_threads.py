# SPDX-License-Identifier: Apache-2.0
"""Many Python threads, the released lock, forks, and the thread count."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cases
import numpy as np
import pytest

import srdfast


@pytest.mark.parametrize("coder", cases.CODERS, ids=cases.CODER_IDS)
def test_eight_python_threads_get_what_one_gets(rng, coder):
    signals, dictionary = cases.problem(rng, batch=64, dictionaries=4)
    index = rng.integers(0, 4, 64)
    alone = coder(signals, dictionary, index=index)
    with ThreadPoolExecutor(8) as pool:
        for answer in pool.map(lambda _: coder(signals, dictionary, index=index), range(40)):
            for part, expected in zip(answer, alone, strict=True):
                np.testing.assert_array_equal(part, expected)


def test_python_runs_while_a_kernel_does(rng):
    signals, dictionary = cases.problem(rng, batch=20_000, atoms=256, features=192)
    ticks, running = [], threading.Event()

    def tick():
        running.wait()
        while running.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    clock = threading.Thread(target=tick)
    clock.start()
    running.set()
    start = time.perf_counter()
    srdfast.omp(signals, dictionary, max_atoms=8)
    stop = time.perf_counter()
    running.clear()
    clock.join()
    during = [moment for moment in ticks if start < moment < stop]
    assert len(during) > 3, f"{len(during)} ticks in {stop - start:.3f} s: the interpreter stood still"


def test_a_forked_child_computes_the_same(python):
    done = python("""
import os, sys, warnings
import cases, numpy as np
warnings.simplefilter("ignore")
signals, dictionary = cases.problem(np.random.default_rng(0), batch=300)
before = [coder(signals, dictionary) for coder in cases.CODERS]
child = os.fork()
after = [coder(signals, dictionary) for coder in cases.CODERS]
same = all(np.array_equal(a, b) for x, y in zip(before, after) for a, b in zip(x, y))
if child == 0:
    os._exit(0 if same else 3)
print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "parent", same)
""")
    assert done.stdout.strip() == "child 0 parent True"


def test_the_thread_count_is_checked():
    before = srdfast.get_num_threads()
    assert isinstance(before, int) and before >= 1
    for bad in (0, -1):
        with pytest.raises(ValueError, match="threads"):
            srdfast.set_num_threads(bad)
    for bad in ("two", 1.5, None):
        with pytest.raises(TypeError):
            srdfast.set_num_threads(bad)
    assert srdfast.get_num_threads() == before


def test_the_thread_count_may_change_while_others_compute(rng):
    signals, dictionary = cases.problem(rng, batch=100)
    alone, before = cases.lasso(signals, dictionary), srdfast.get_num_threads()

    def work(turn):
        srdfast.set_num_threads(1 + turn % 4)
        return cases.lasso(signals, dictionary)

    try:
        with ThreadPoolExecutor(4) as pool:
            for answer in pool.map(work, range(24)):
                np.testing.assert_array_equal(answer[0], alone[0])
    finally:
        srdfast.set_num_threads(before)
