"""Any number of threads gives the same bits, an idle session costs nothing, a busy neighbour stops nobody."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from toy_model import CONTEXT, Toy, compile_with

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


@pytest.fixture(scope="session")
def adaptation(toy: Toy, tmp_path_factory: pytest.TempPathFactory):
    """Starts the C logic for some threads; what it returns runs steps with a cost for each number of threads."""
    out = tmp_path_factory.mktemp("adapt") / "all.so"
    compile_with([sys.executable, "-m", "ziglang", "cc"], toy.folder, out, "-fvisibility=default")
    library = ctypes.CDLL(str(out))
    library.edgeq_adapt_learn.argtypes = (ctypes.c_void_p, ctypes.c_double)

    def start(threads: int) -> Callable[[int, Callable[[int], float]], list[int]]:
        state = ctypes.create_string_buffer(1024)
        library.edgeq_adapt_open(state, threads)

        def steps(count: int, cost: Callable[[int], float]) -> list[int]:
            used = []
            for _ in range(count):
                used.append(library.edgeq_adapt_pick(state))
                library.edgeq_adapt_learn(state, cost(used[-1]))
            return used

        return steps

    return start


def quiet(threads: int) -> float:
    return 100.0 / threads


def test_adaptation_stays_with_all_threads_and_looks_elsewhere_rarely(adaptation):
    used = adaptation(4)(2000, quiet)
    assert used[:5] == [4] * 5
    assert set(used) == {1, 2, 3, 4}
    assert np.mean([quiet(n) for n in used[:1000]]) < 1.12 * quiet(4)
    assert np.mean([quiet(n) for n in used[1000:]]) < 1.05 * quiet(4)
    assert set(adaptation(8)(200, quiet)) == {1, 4, 7, 8}


def test_long_runs_do_not_look_at_fewer_threads(adaptation):
    """A run of a second would take several with one thread; one slow start does not count."""
    steps = adaptation(4)
    assert set(steps(100, lambda n: 4e9 / n)) == {4}
    assert set(steps(200, quiet)) == {1, 2, 3, 4}


@pytest.mark.parametrize("threads", [2, 8])
def test_adaptation_leaves_a_taken_core_and_comes_back(adaptation, threads: int):
    steps = adaptation(threads)
    steps(200, quiet)
    busy = steps(400, lambda n: quiet(n) if n < threads else 4 * quiet(threads))
    assert busy[20:].count(threads - 1) >= 320
    assert steps(600, quiet)[300:].count(threads) >= 250


def test_a_hiccup_costs_a_few_steps(adaptation):
    steps = adaptation(2)
    steps(500, quiet)
    steps(1, lambda n: 3000.0)
    assert steps(100, quiet).count(2) >= 80


def test_stalls_that_a_short_look_may_miss_do_not_make_it_flap(adaptation):
    """All threads: fast for three steps, then one long stall, over and over."""
    count = 0

    def cost(threads: int) -> float:
        nonlocal count
        count += threads == 2
        return quiet(1) if threads == 1 else 600.0 if count % 4 == 0 else quiet(2)

    used = adaptation(2)(1000, cost)
    assert used[200:].count(1) >= 700


def test_threads_that_share_one_cpu_take_turns(toy: Toy):
    """The whole process on one CPU: auto is one thread, and three still finish."""
    code = f"""
import os
import subprocess
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
from edgeq.runtime.loader import Session
with Session({str(toy.folder)!r}) as session:
    print(session.info.threads)
with Session({str(toy.folder)!r}, threads=3, adapt=False) as session:
    session.feed({TOKENS})
    print(session.sample())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["1", str(toy.logits(TOKENS).argmax())]


def test_a_forked_child_goes_on_with_its_own_copy(toy: Toy):
    with Session(toy.folder, threads=3, adapt=False) as session:
        session.feed(TOKENS[:10])
        child = os.fork()
        if child == 0:  # no exception may leave the child: pytest would run on in it
            session.feed(TOKENS[10:20])
            right = np.array_equal(session.last_logits(), toy.logits(TOKENS[:20]))
            session.close()
            os._exit(0 if right else 1)
        session.feed([1])
        np.testing.assert_array_equal(session.last_logits(), toy.logits([*TOKENS[:10], 1]))
        assert os.waitpid(child, 0)[1] == 0
