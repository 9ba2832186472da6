from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.errors import ArtifactError, TargetError, ToolchainError, UsageError
from edgeq.modelled import counter
from edgeq.modelled.architecture import ARM64
from edgeq.modelled.counts import by_function, by_instruction, calls, read_counts
from edgeq.modelled.program import UNKNOWN, Function, Owners, Program, read_program
from edgeq.modelled.tools import find_emulator, find_llvm

# 2 + (2 + 3n) instructions a call of count_down(n); markers are none.
PROGRAM = """
#include "marker.h"
__asm__(
    ".globl count_down\\n.type count_down,%function\\n"
    "count_down: mov x1, #0\\n"
    "1: add x1, x1, x0\\n  sub x0, x0, #1\\n  cbnz x0, 1b\\n"
    "ret\\n.size count_down, .-count_down\\n"
    ".globl _start\\n.type _start,%function\\n"
    "_start: mov x0, #1000\\n  bl count_down\\n"
    "movz xzr, #1\\n  mov x0, #7\\n  bl count_down\\n  nop\\n  movz xzr, #2\\n"
    "nop\\n nop\\n movz xzr, #0\\n"
    "mov x0, #0\\n  mov x8, #93\\n  svc #0\\n.size _start, .-_start\\n");
"""


@pytest.fixture(scope="module")
def program(assemble: Callable[..., Path]) -> Path:
    return assemble(PROGRAM)


@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize("cpu", ["cortex-a72", "cortex-a76", "max"])
def test_counts_are_exact_to_the_instruction_and_markers_part_them(program: Path, cpu: str) -> None:
    found = counter.count(program, [], cpu)
    assert found.status == 0
    assert [i.mark for i in found.intervals] == [0, 1, 2, 0]
    assert [i.total for i in found.intervals] == [2 + 2 + 3 * 1000, 2 + 2 + 3 * 7 + 1, 2, 3]


@pytest.mark.usefixtures("emulator")
def test_instructions_belong_to_functions(program: Path) -> None:
    found = counter.count(program, [], "cortex-a72")
    functions = found.program
    first, second = (by_instruction(interval.blocks, functions) for interval in found.intervals[:2])
    assert by_function(first, functions) == {"count_down": 3002, "_start": 2}
    assert by_function(second, functions) == {"count_down": 23, "_start": 3}
    assert calls(second, functions)["count_down"] == 1


@pytest.mark.usefixtures("emulator")
def test_c_programs_mark_intervals_and_count_the_same_every_time(assemble: Callable[..., Path]) -> None:
    program = assemble(
        '#include "marker.h"\n'
        'void _start(void) { edgeq_mark(3); for (long i = 0; i < 999; i++) __asm__ volatile(""); edgeq_mark(65535);'
        ' __asm__ volatile("mov x0, #0\\n mov x8, #93\\n svc #0"); }'
    )
    first, second = (counter.count(program, [], "max").intervals for _ in range(2))
    assert [i.mark for i in first] == [0, 3, 65535]
    assert first == second
    assert first[1].total >= 2 * 999


@pytest.mark.usefixtures("emulator")
def test_an_unknown_cpu_is_named(program: Path) -> None:
    with pytest.raises(UsageError, match="cortex-a99"):
        counter.count(program, [], "cortex-a99")


@pytest.mark.usefixtures("emulator")
def test_a_program_that_never_ends_is_ended(assemble: Callable[..., Path]) -> None:
    endless = assemble('__asm__(".globl _start\\n.type _start,%function\\n_start: b _start\\n");')
    with pytest.raises(TargetError, match=r"longer than 1 s"):
        counter.count(endless, [], "max", timeout_s=1)


def write_counts(path: Path, threads: int, bias: int = 0) -> Program:
    lines = [{"mark": 0, "blocks": [[bias + 16, 2, 5]]}, {"entry": bias + 8, "threads": threads}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Program(path, 8, ARM64, (Function("f", 16, 4), Function("g", 20, 4)))


def test_counts_are_of_the_file_s_addresses_wherever_it_was_loaded(tmp_path: Path) -> None:
    program = write_counts(tmp_path / "counts", 1, bias=0x400000)
    (interval,) = read_counts(tmp_path / "counts", program)
    assert by_function(by_instruction(interval.blocks, program), program) == {"f": 5, "g": 5}


def test_counts_of_two_threads_are_refused(tmp_path: Path) -> None:
    program = write_counts(tmp_path / "counts", 2)
    with pytest.raises(UsageError, match="2 threads"):
        read_counts(tmp_path / "counts", program)


def test_cut_counts_are_refused(tmp_path: Path) -> None:
    program = write_counts(tmp_path / "counts", 1)
    (tmp_path / "counts").write_text('{"mark": 0, "blocks": []}\n')
    with pytest.raises(ToolchainError, match="no complete counts"):
        read_counts(tmp_path / "counts", program)


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40)), min_size=1, max_size=20), st.integers(0, 900))
def test_an_address_belongs_to_the_function_that_holds_it(gaps: list[tuple[int, int]], address: int) -> None:
    functions, at = [], 0
    for i, (size, gap) in enumerate(gaps):
        functions.append(Function(f"f{i}", at, size))
        at += size + gap
    expected = next((f.name for f in functions if f.address <= address < f.address + f.size), UNKNOWN)
    assert Owners(tuple(functions)).of(address) == expected


def test_what_is_no_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no ELF")
    with pytest.raises(ArtifactError, match="not a little-endian ELF"):
        read_program(tmp_path / "text")


def test_a_missing_emulator_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("EDGEQ_QEMU", raising=False)
    with pytest.raises(TargetError, match="apt install qemu-user"):
        find_emulator()


def test_missing_llvm_tools_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("EDGEQ_LLVM", raising=False)
    find_llvm.cache_clear()
    with pytest.raises(TargetError, match="apt install llvm-19"):
        find_llvm("llvm-mca")
