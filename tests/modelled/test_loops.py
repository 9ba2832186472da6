from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeq.errors import UnsupportedError, UsageError
from edgeq.modelled.counter import count
from edgeq.modelled.counts import by_instruction
from edgeq.modelled.disassembly import parse
from edgeq.modelled.loops import hot_loop, innermost_loops, is_vector, stretches
from edgeq.modelled.mix import mnemonics

TEXT = """
p:	file format elf64-littleaarch64

Disassembly of section .text:

0000000000000100 <f>:
     100:      	mov	x9, #0x10               // =16
     104:      	ldr	q0, [x0], #16
     108:      	cbz	x9, 0x110 <f+0x10>
     10c:      	sdot	v1.4s, v0.16b, v2.16b
     110:      	subs	x9, x9, #0x1
     114:      	b.ne	0x104 <f+0x4>
     118:      	add	x1, x1, #0x1
     11c:      	tbz	w1, #0x3, 0x100 <f>
     120:      	bl	0x200 <g>
     124:      	adrp	x8, 0x2000 <table>
     128:      	ret
"""


def test_disassembly_is_read() -> None:
    code = parse(TEXT)["f"]
    assert [i.mnemonic for i in code[:3]] == ["mov", "ldr", "cbz"]
    assert code[0].operands == "x9, #0x10"
    assert [i.target for i in code if i.target] == [0x110, 0x104, 0x100]
    assert [i.calls for i in code].count(True) == 1
    assert code[7].assembly(".Lp") == "\ttbz\tw1, #0x3, .Lp"
    assert code[9].assembly(".Lp") == "\tadrp\tx8, .Lp"


def test_innermost_loops_are_backward_branches_around_no_other() -> None:
    (body,) = innermost_loops(parse(TEXT)["f"])
    assert (body[0].address, body[-1].address) == (0x104, 0x114)


def test_a_loop_whose_body_ran_evenly_is_one_stretch() -> None:
    code = parse(TEXT)["f"]
    counts = Counter({i.address: 160 if 0x104 <= i.address <= 0x114 else 10 for i in code})
    first, *rest = stretches(code, counts)
    assert (first.loop, first.times, len(first.body), first.instructions) == (True, 160, 5, 800)
    assert not any(s.loop for s in rest)
    assert sum(s.instructions for s in (first, *rest)) == counts.total()


def test_a_loop_with_a_branch_that_was_taken_is_several() -> None:
    code = parse(TEXT)["f"]
    counts = Counter({0x104: 8, 0x108: 8, 0x10C: 5, 0x110: 8, 0x114: 8})
    found = stretches(code, counts)
    assert [(s.times, len(s.body), s.loop) for s in found] == [(8, 2, False), (8, 2, False), (5, 1, False)]


def test_vector_instructions_are_told_by_their_first_register() -> None:
    assert [i.mnemonic for i in parse(TEXT)["f"] if is_vector(i)] == ["ldr", "sdot"]


TWO_LOOPS = """
__asm__(
    ".globl f\\n.type f,%function\\n"
    "f: mov x1, #5\\n1: add v0.4s, v0.4s, v1.4s\\n add v2.4s, v2.4s, v1.4s\\n sub x1, x1, #1\\n cbnz x1, 1b\\n"
    "mov x1, #900\\n2: sub x1, x1, #1\\n cbnz x1, 2b\\n"
    "mov x0, #0\\n mov x8, #93\\n svc #0\\n.size f, .-f\\n");
"""


@pytest.mark.usefixtures("emulator", "llvm")
def test_the_hot_loop_is_the_one_that_executed_most(assemble: Callable[..., Path]) -> None:
    program = assemble(TWO_LOOPS, "-Wl,-e,f")
    found = count(program, [], "cortex-a72")
    hot = hot_loop(program, "f", by_instruction(found.intervals[0].blocks, found.program))
    assert ([i.mnemonic for i in hot.body], hot.times) == (["sub", "cbnz"], 900)
    assert len(hot_loop(program, "f").body) == 4  # without counts: the one with vector instructions


@pytest.mark.usefixtures("emulator", "llvm")
def test_executed_instructions_by_mnemonic(assemble: Callable[..., Path]) -> None:
    found = count(assemble(TWO_LOOPS, "-Wl,-e,f"), [], "cortex-a72")
    executed = mnemonics(found.program, "f", by_instruction(found.intervals[0].blocks, found.program))
    assert executed == {"sub": 905, "cbnz": 905, "add": 10, "mov": 4, "svc": 1}
    assert list(executed)[-1] == "svc"


@pytest.mark.usefixtures("llvm")
def test_what_has_no_loop_or_does_not_exist_is_refused(assemble: Callable[..., Path]) -> None:
    program = assemble('__asm__(".globl f\\n.type f,%function\\nf: ret\\n.size f,.-f\\n");', "-Wl,-e,f")
    with pytest.raises(UnsupportedError, match="runs no loop"):
        hot_loop(program, "f")
    with pytest.raises(UsageError, match="no function g"):
        hot_loop(program, "g")
