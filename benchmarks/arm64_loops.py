"""Hot loops of the kernels on ARM cores: cycles by llvm-mca beside the bound of their own port pressure.

python benchmarks/arm64_loops.py [--isa dotprod] [--only gemm] [--rows 64] [--size 1024] [--json] [--show NAME]

Nothing here is timed. Each kernel runs once on zeros under qemu-aarch64 with the counting plugin, which says which
loop executed most, and how often everything ran; llvm-mca prices what ran. "port bound" is the least cycles that the
loop's port pressure and the dispatch width allow: the block reciprocal throughput, or what the busiest kind of ports
needs. "call" is the whole kernel; float32's and the binary GEMM have the same shape, rows x size x size. `--show`
prints a kernel's loop and what the whole call executes by mnemonic. Cores that lack a variant have no rows of it.
Needs qemu-user and llvm-19 (Debian: apt install qemu-user llvm-19).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeq.errors import UnsupportedError
from edgeq.kernels import attention, binary, linear_float, linear_int
from edgeq.kernels.kernel import Kernel
from edgeq.lower.objects import kernel_object
from edgeq.lower.toolchain import cc
from edgeq.modelled.architecture import ARM64
from edgeq.modelled.costs import Costs
from edgeq.modelled.counter import INCLUDE, count
from edgeq.modelled.counts import by_instruction
from edgeq.modelled.disassembly import Instruction
from edgeq.modelled.loops import Stretch
from edgeq.modelled.mca import mca
from edgeq.modelled.mix import mnemonics
from edgeq.quant.format import WeightFormat
from edgeq.targets import arm64
from edgeq.targets.isa import Isa

CPUS = tuple(p.cpu for p in ARM64.processors)
PROBES = {
    "i8mm": "smmla v0.4s, v1.16b, v2.16b",
    "dotprod": "sdot v0.4s, v1.16b, v2.16b",
    "neon": "fmla v0.4s, v1.4s, v2.4s",
}
EMULATED = {"neon": "cortex-a72", "dotprod": "cortex-a76", "i8mm": "max"}
HEADS, KEY_HEADS, WIDTH, CONTEXT = 9, 3, 64, 2048
MAIN = """
#include <sys/mman.h>
#include "marker.h"
{declared}
static void *zeros(void)
{{
  return mmap(0, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}}
int main(void)
{{
  void *p[16];
  for (int i = 0; i < 16; i++) if ((p[i] = zeros()) == MAP_FAILED) return 1;
{calls}
  return 0;
}}
"""


@dataclass(frozen=True)
class Case:
    """A kernel, the units of a full call, its int parameters, and the multiply-adds of the call."""

    name: str
    kernel: Kernel
    units: int
    scalars: tuple[int, ...]
    ops: int


@dataclass(frozen=True)
class Row:
    """One kernel of one instruction set on one processor; cycles are of one iteration of the loop, or of the call."""

    name: str
    isa: str
    cpu: str
    loop_instructions: int
    loop_cycles: float
    loop_bound: float
    instructions_per_cycle: float
    share_in_loop: float
    call_instructions: int
    call_cycles: float
    ops_per_cycle: float

    @property
    def over_bound(self) -> float:
        """Cycles over the bound."""
        return self.loop_cycles / self.loop_bound


def cases(rows: int, size: int) -> Iterator[Case]:
    """Linears of one shape, and attention of SmolLM2's heads."""
    units = size // 16
    for bits in ("w4g32", "w8"):
        fmt = WeightFormat.parse(bits)
        yield Case(f"gemv {bits}a8", linear_int.gemv(size, size, fmt), units, (), size * size)
        yield Case(f"gemm {bits}a8", linear_int.gemm(size, size, fmt), units, (rows,), rows * size * size)
    for bits in ("f32", "f16"):
        fmt = WeightFormat.parse(bits)
        yield Case(f"gemm {bits}", linear_float.gemm(size, size, fmt), units, (rows,), rows * size * size)
    yield Case("gemv binary", binary.gemv(size, size), units, (), size * size)
    yield Case("gemm binary", binary.gemm(size, size), units, (rows,), rows * size * size)
    wide = (HEADS + 2 * KEY_HEADS) * WIDTH
    shape = (HEADS, KEY_HEADS, WIDTH, WIDTH, wide, "f16", CONTEXT)
    seen = 2 * HEADS * WIDTH
    yield Case("attention decode 512", attention.decode(*shape), HEADS, (511,), seen * 512)
    chunk = HEADS * -(-rows // 16)
    yield Case(f"attention chunk {rows}", attention.chunk(*shape), chunk, (rows, 0), seen * rows * (rows + 1) // 2)


def write_main(found: Sequence[Case], isa: Isa, path: Path) -> None:
    """C that calls every kernel once on zeros, each between markers."""
    declared, calls = [], []
    for case in found:
        pointers = [p.name for p in case.kernel.params if p.access != "value"]
        symbol = f"{case.kernel.name}_{isa.name}"
        types = ["int", "int", *["int"] * len(case.scalars), *["void *"] * len(pointers)]
        values = ["0", str(case.units), *map(str, case.scalars), *(f"p[{i}]" for i in range(len(pointers)))]
        declared.append(f"void {symbol}({', '.join(types)});")
        calls.append(f"  edgeq_mark(1);\n  {symbol}({', '.join(values)});\n  edgeq_mark(0);")
    path.write_text(MAIN.format(declared="\n".join(declared), calls="\n".join(calls)))


def cores(isa: Isa) -> list[str]:
    """Processors that have the instruction which makes the variant."""
    mnemonic, operands = PROBES[isa.name].split(" ", 1)
    probe = Stretch((Instruction(0, mnemonic, operands, None),), 1, False)
    able = []
    for cpu in CPUS:
        with contextlib.suppress(UnsupportedError):
            mca(probe, cpu)
            able.append(cpu)
    return able


def measure(found: Sequence[Case], isa: Isa) -> tuple[list[Row], dict[str, str]]:
    """(rows, text of each kernel's loop)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_main(found, isa, folder / "main.c")
        program, objects = folder / "program", kernel_object([c.kernel for c in found], isa)
        flags = ["-static", "-O1", f"-I{INCLUDE}", str(folder / "main.c"), str(objects), "-lm", "-o", str(program)]
        cc(arm64.TARGET.static_triple, flags, "linking the kernels")
        done = count(program, [], EMULATED[isa.name])
        if done.status:
            raise SystemExit(f"{isa.name}: the kernels ended with status {done.status}: {done.stderr.decode()}")
        able = cores(isa)
        calls = [by_instruction(interval.blocks, done.program) for interval in done.intervals if interval.mark]
        rows: list[Row] = []
        loops: dict[str, str] = {}
        for case, counts in zip(found, calls, strict=True):
            symbol = f"{case.kernel.name}_{isa.name}"
            costs = Costs(done.program, [symbol], counts, able)
            rows += _rows(case, isa, symbol, costs, counts)
            hot = costs.hot_loop(symbol)
            mix = ", ".join(f"{n:,} {name}" for name, n in mnemonics(done.program, symbol, counts).items())
            body = "\n".join(i.assembly("top") for i in hot[0].body) if hot else ""
            loops[f"{case.name} {isa.name}"] = f"{body}\n\nexecuted: {mix}"
        return rows, loops


def _rows(case: Case, isa: Isa, symbol: str, costs: Costs, counts: Any) -> Iterator[Row]:
    hot = costs.hot_loop(symbol)
    if hot is None:
        return
    loop, by_cpu = hot
    executed = costs.instructions(symbol, counts)
    for cpu, cycles in by_cpu.items():
        whole = costs.cycles(symbol, counts, cpu) or 0.0
        yield Row(
            case.name, isa.name, cpu, len(loop.body), cycles.total, cycles.port_bound, cycles.ipc,
            loop.instructions / executed, executed, whole, case.ops / whole,
        )  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    columns = "loop instr. | cycles | port bound | x bound | IPC | share | call cycles | MAC/cycle"
    lines = [f"| kernel | variant | core | {columns} |", "|---|---|---" + "|--:" * 8 + "|"]
    lines += [
        f"| {r.name} | {r.isa} | {r.cpu} | {r.loop_instructions} | {r.loop_cycles:.1f} | {r.loop_bound:.1f} | "
        f"{r.over_bound:.2f} | {r.instructions_per_cycle:.2f} | {r.share_in_loop:.0%} | {r.call_cycles:,.0f} | "
        f"{r.ops_per_cycle:.2f} |"
        for r in rows
    ]
    return "\n".join(lines)


def ratios(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Cycles of float32's GEMM over the binary one's, by variant and core: whole calls of one shape."""
    cycles = {(r.name, r.isa, r.cpu): r.call_cycles for r in rows}
    return [
        {"isa": isa, "cpu": cpu, "float32_over_binary": n / cycles["gemm binary", isa, cpu]}
        for (name, isa, cpu), n in cycles.items()
        if name == "gemm f32" and ("gemm binary", isa, cpu) in cycles
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--isa", choices=[isa.name for isa in arm64.TARGET.isas], help="default: all")
    parser.add_argument("--only", default="", help="kernels whose name contains this")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--show", help="print the loop of this kernel, as '--show \"gemv w4g32a8\"'")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    chosen = [case for case in cases(given.rows, given.size) if given.only in case.name]
    rows: list[Row] = []
    for isa in arm64.TARGET.isas:
        if given.isa in (None, isa.name):
            found, loops = measure(chosen, isa)
            rows += found
            if given.show:
                print(f"{given.show} {isa.name}:", loops[f"{given.show} {isa.name}"], sep="\n", file=sys.stderr)
    if given.json:
        print(json.dumps({"modelled": True, "rows": [asdict(r) for r in rows], "ratios": ratios(rows)}, indent=1))
        return
    print(f"{given.rows} x {given.size} x {given.size}; modelled by llvm-mca, nothing timed\n\n{table(rows)}\n")
    for r in ratios(rows):
        print(f"{r['isa']} on {r['cpu']}: float32's GEMM takes {r['float32_over_binary']:.1f}x the binary one's cycles")


if __name__ == "__main__":
    main()
