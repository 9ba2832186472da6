"""What kernel tests rely on: memory of arrays as it is here, other memory seen, crashes named, the right CPUs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from guest import Guest, link_guest
from qemu import CPUS, qemu

from edgeq.lower.toolchain import cc
from edgeq.targets import find

FUNCTIONS = """
#include <stdint.h>
void add(int lo, int hi, float *a, float *b, float *o) { for (int i = lo; i < hi; i++) o[i] = a[i] + b[i]; }
void address(int lo, int hi, char *a, uint64_t *o) { *o = (uint64_t)a; }
void many(int lo, int hi, int c, int d, int e, int f, int g, int h, int i, int j, long *k) {
    long all[] = {lo, hi, c, d, e, f, g, h, i, j};
    for (int n = 0; n < 10; n++) k[n] = all[n];
}
void dot(int lo, int hi) { __asm__ volatile(".arch armv8.2-a+dotprod\\n sdot v0.4s, v1.16b, v2.16b"); }
void matrix(int lo, int hi) { __asm__ volatile(".arch armv8.6-a+i8mm\\n smmla v0.4s, v1.16b, v2.16b"); }
void vector(int lo, int hi, uint64_t *o) { __asm__ volatile(".arch armv8.2-a+sve\\n cntb %0" : "=r"(*o)); }
void fall(int lo, int hi, int *a) { *a = 1; }
"""
NAMES = ("add", "address", "many", "dot", "matrix", "vector", "fall")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guest")
    (folder / "f.c").write_text(FUNCTIONS)
    cc("aarch64-linux-musl", ["-O1", "-c", str(folder / "f.c"), "-o", str(folder / "f.o")], "functions")
    return link_guest([folder / "f.o"], NAMES, folder / "guest")


@pytest.fixture
def guest(program: Path) -> Guest:
    return Guest(program, NAMES, "cortex-a72")


def test_every_variant_has_a_cpu() -> None:
    assert {isa.name for isa in find("arm64").isas} == set(CPUS)


def test_views_of_one_array_are_one_memory(guest: Guest) -> None:
    a = np.arange(20, dtype=np.float32)
    guest.call("add", [0, 4, a[0:4], a[2:6], a[3:7]])
    assert a.tolist() == [0, 1, 2, 2, 3, 5, 7, *range(7, 20)]  # in order, each sum reads what was written before


def test_what_is_written_beside_an_array_is_seen(guest: Guest) -> None:
    raw = np.zeros(8, np.float32)
    guest.call("add", [0, 5, np.ones(5, np.float32), np.ones(5, np.float32), raw[2:6]])
    assert raw.tolist() == [0, 0, 2, 2, 2, 2, 2, 0]


def test_addresses_keep_their_place_in_a_page(guest: Guest) -> None:
    raw, o = np.zeros(9000, np.int8), np.zeros(1, np.uint64)
    for start in (0, 1, 63, 4097):
        guest.call("address", [0, 0, raw[start:], o])
        assert (int(o[0]) - raw[start:].ctypes.data) % 4096 == 0
    guest.call("address", [0, 0, None, o])
    assert o[0] == 0


def test_negative_and_later_arguments_arrive(guest: Guest) -> None:
    o = np.zeros(10, np.int64)
    guest.call("many", [-1, 2, -3, 4, -5, 6, -7, 8, -9, 10, o])
    assert o.tolist() == [-1, 2, -3, 4, -5, 6, -7, 8, -9, 10]


def test_constant_arrays_stay_as_they_are(guest: Guest) -> None:
    a = np.ones(4, np.float32)
    a.flags.writeable = False
    guest.call("add", [0, 4, a, a, a])
    assert a.tolist() == [1] * 4


def test_a_crash_names_function_cpu_and_signal_and_the_next_call_runs(guest: Guest) -> None:
    with pytest.raises(AssertionError, match="fall on cortex-a72: SIGSEGV"):
        guest.call("fall", [0, 1, None])
    o = np.zeros(4, np.float32)
    guest.call("add", [0, 4, np.ones(4, np.float32), np.ones(4, np.float32), o])
    assert o.tolist() == [2] * 4


def test_each_cpu_has_what_its_variant_needs_and_no_more(program: Path) -> None:
    """Otherwise an instruction in the wrong variant would go unseen."""
    has = {"cortex-a72": (), "cortex-a76": ("dot",), "max": ("dot", "matrix")}
    for cpu, names in has.items():
        for name in ("dot", "matrix"):
            if name in names:
                Guest(program, NAMES, cpu).call(name, [0, 0])
            else:
                with pytest.raises(AssertionError, match=f"{name} on {cpu}: SIGILL"):
                    Guest(program, NAMES, cpu).call(name, [0, 0])


def test_vectors_of_max_have_128_bits(program: Path) -> None:
    o = np.zeros(1, np.uint64)
    Guest(program, NAMES, "max").call("vector", [0, 0, o])
    assert o[0] == 16


def test_the_emulator_runs_a_static_program(tmp_path: Path) -> None:
    (tmp_path / "m.c").write_text("#include <stdio.h>\nint main(int n, char **a) { puts(a[1]); return 7; }")
    cc("aarch64-linux-musl", ["-static", "-s", str(tmp_path / "m.c"), "-o", str(tmp_path / "m")], "m")
    done = subprocess.run([*qemu("cortex-a72"), str(tmp_path / "m"), "hello"], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("hello\n", 7)
