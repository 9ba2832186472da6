"""Any number of threads gives the same bits, an idle session costs nothing, a busy neighbour stops nobody."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
import threading
import time

import numpy as np
import pytest
from toy_model import CONTEXT, RUNTIME, Toy, compile_with

from edgeq.runtime.loader import Session

TOKENS = [int(t) for t in np.random.default_rng(5).integers(0, 57, CONTEXT)]


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("adapt", [True, False])
def test_logits_do_not_depend_on_threads(toy: Toy, threads: int, adapt: bool):
    with Session(toy.folder, threads=threads, adapt=adapt) as session:
        assert session.info.threads == threads
        session.feed(TOKENS[:30])
        for i in range(30, CONTEXT):
            np.testing.assert_array_equal(session.last_logits(), toy.logits(TOKENS[:i]))
            assert session.sample() == toy.logits(TOKENS[:i]).argmax()
            session.feed(TOKENS[i : i + 1])
        assert adapt or session.info.last_threads == threads


def test_threads_can_change_in_the_middle(toy: Toy):
    with Session(toy.folder, threads=1) as session:
        for i, token in enumerate(TOKENS[:40]):
            session.set_threads(i % 4 + 1, adapt=bool(i % 3))
            session.feed([token])
            np.testing.assert_array_equal(session.last_logits(), toy.logits(TOKENS[: i + 1]))


def test_idle_workers_sleep(toy: Toy):
    with Session(toy.folder, threads=3) as session:
        session.feed(TOKENS[:10])
        time.sleep(0.05)
        before = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - before < 0.1
        session.feed(TOKENS[10:12])
        np.testing.assert_array_equal(session.last_logits(), toy.logits(TOKENS[:12]))


def test_sessions_in_parallel_threads(toy: Toy, other: Toy):
    wrong: list[str] = []

    def use(model: Toy):
        with Session(model.folder, threads=2) as session:
            for _ in range(20):
                session.rewind(0)
                session.feed(TOKENS[:9])
                session.feed(TOKENS[9:10])
                if not np.array_equal(session.last_logits(), model.logits(TOKENS[:10])):
                    wrong.append(str(model.folder))

    threads = [threading.Thread(target=use, args=(model,)) for model in (toy, toy, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def _spin() -> None:
    while True:
        pass


def test_a_busy_neighbour_does_not_stop_it(toy: Toy):
    """More threads than cores, and others want the cores too: barriers must give way, or this takes minutes."""
    neighbours = [multiprocessing.get_context("fork").Process(target=_spin, daemon=True) for _ in range(2)]
    for process in neighbours:
        process.start()
    try:
        with Session(toy.folder, threads=(os.cpu_count() or 1) + 1) as session:
            for _ in range(5):
                session.rewind(0)
                for token in TOKENS:
                    session.feed([token])
            np.testing.assert_array_equal(session.last_logits(), toy.logits(TOKENS))
    finally:
        for process in neighbours:
            process.kill()


class Adapt(ctypes.Structure):
    _fields_ = (
        ("n", ctypes.c_int),
        ("probing", ctypes.c_int),
        ("threads", ctypes.c_int * 4),
        ("ns", ctypes.c_double * 4),
        ("due", ctypes.c_uint64 * 4),
        ("step", ctypes.c_uint64),
        ("current", ctypes.c_int),
    )


@pytest.fixture(scope="session")
def adaptation(toy: Toy, tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp("adapt") / "all.so"
    compile_with([sys.executable, "-m", "ziglang", "cc"], toy.folder, out, "-fvisibility=default")
    library = ctypes.CDLL(str(out))
    library.edgeq_adapt_learn.argtypes = (ctypes.c_void_p, ctypes.c_double)
    assert "EDGEQ_CHOICES 4" in (RUNTIME / "internal.h").read_text()

    def start(threads: int):
        state = Adapt()
        library.edgeq_adapt_open(ctypes.byref(state), threads)

        def steps(count: int, cost: dict[int, float]) -> list[int]:
            used = []
            for _ in range(count):
                used.append(library.edgeq_adapt_pick(ctypes.byref(state)))
                library.edgeq_adapt_learn(ctypes.byref(state), cost[used[-1]])
            return used

        return state, steps

    return start


def test_adaptation_stays_with_all_threads_and_looks_elsewhere_rarely(adaptation):
    _, steps = adaptation(4)
    used = steps(2000, {1: 400.0, 2: 210.0, 3: 150.0, 4: 100.0})
    assert used[:30] == [4] * 30
    assert set(used) == {1, 2, 3, 4}
    cost = {1: 4.0, 2: 2.1, 3: 1.5, 4: 1.0}
    assert np.mean([cost[n] for n in used[300:]]) < 1.15


@pytest.mark.parametrize("threads", [2, 8])
def test_adaptation_leaves_a_taken_core_and_comes_back(adaptation, threads: int):
    state, steps = adaptation(threads)
    choices = list(state.threads[: state.n])
    assert choices == {2: [1, 2], 8: [1, 4, 7, 8]}[threads]
    quiet = {n: 100.0 * threads / n for n in choices}
    busy = {**quiet, threads: 900.0}
    fewer = choices[-2]
    steps(200, quiet)
    assert steps(200, busy)[-40:].count(fewer) >= 34
    assert steps(600, quiet)[-40:].count(threads) >= 34
