"""Binary GEMM on this machine, against OpenBLAS's float32 and the CPU's peak; on ARM against float32's loop, modelled.

python benchmarks/kernels_binary.py [--cpu] [--only 4096x4096x4096] [--rounds 9] [--json]
python benchmarks/kernels_binary.py --arm64

Every round runs the peak (exclusive or, popcount, add from registers alone), numpy's float32 product and each kernel,
one after the other, each on two threads; figures are medians over the rounds, ratios medians of the rounds' ratios. One
multiply-add counts as two operations. `--cpu` runs one thread and counts its own CPU time: what a busy machine disturbs
least. `avx512vpopcnt` is the variant with VPOPCNTDQ, where this CPU has it. `--only 4096x4096x4096` measures one shape.

`--arm64` prints llvm-mca's cycles of the hot loops: modelled, nothing runs.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1" if "--cpu" in sys.argv else "2"  # read when numpy is imported
os.environ["OPENBLAS_THREAD_TIMEOUT"] = "4"  # or its threads spin for 20 ms into whatever is measured next

import numpy as np
from kernels_x86 import Alone, Call, Pool, address

from edgeq.kernels import binary, binary_pack, linear_float
from edgeq.kernels.compile import compile_object
from edgeq.kernels.kernel import Kernel
from edgeq.measure.machine import CPUINFO, features
from edgeq.modelled.disassembly import disassemble
from edgeq.modelled.loops import Stretch, innermost_loops
from edgeq.modelled.mca import mca
from edgeq.quant.format import WeightFormat
from edgeq.targets import find
from edgeq.targets.isa import Isa

THREADS = int(os.environ["OPENBLAS_NUM_THREADS"])
# Eight results that wait for nothing, added to eight sums: no latency is left to wait for.
PEAK = """
#include <stdint.h>
#define COUNT(i) "vpxord %%zmm30, %%zmm31, %%zmm" #i "\\n vpopcntd %%zmm" #i ", %%zmm" #i "\\n"
#define ADD(i, j) "vpaddd %%zmm" #i ", %%zmm" #j ", %%zmm" #j "\\n"
#define NAMES(a) "xmm" #a "0", "xmm" #a "1", "xmm" #a "2", "xmm" #a "3", "xmm" #a "4", "xmm" #a "5"
void peak(int64_t steps) {
  for (int64_t i = 0; i < steps; i++)
    __asm__ volatile(COUNT(0) COUNT(1) COUNT(2) COUNT(3) COUNT(4) COUNT(5) COUNT(6) COUNT(7)
                     ADD(0, 8) ADD(1, 9) ADD(2, 10) ADD(3, 11) ADD(4, 12) ADD(5, 13) ADD(6, 14) ADD(7, 15)
                     ::: NAMES(), "xmm6", "xmm7", "xmm8", "xmm9", NAMES(1));
}
"""
PEAK_STEPS, PEAK_OPS = 20_000_000, 8 * 512 * 2
SHAPES = ((4096, 4096, 4096), (256, 4096, 4096), (256, 1024, 1024))  # m, N, K
ARM_SHAPE = (512, 4096)  # N, K
ARM_CPUS = {
    "neon": ("cortex-a55", "cortex-a72", "neoverse-n1", "neoverse-v1"),
    "dotprod": ("cortex-a55", "neoverse-n1", "neoverse-v1"),
    "i8mm": ("neoverse-v1",),
}
PRODUCTS = {"fmla": 4, "cnt": 128}  # multiply-adds of an instruction


def variants() -> list[Isa]:
    """x86-64 variants that this machine runs, best first."""
    here = features(CPUINFO.read_text())
    return [isa for isa in find("x86-64").every if set(isa.needs) <= here]


def build(kernels: list[Kernel], isas: list[Isa]) -> ctypes.CDLL:
    """Kernels of every variant, and the peak where the CPU has it, as one loaded library."""
    folder = Path(tempfile.mkdtemp())
    objects = [f"{isa.name}.o" for isa in isas]
    for isa, name in zip(isas, objects, strict=True):
        compile_object(kernels, isa, folder / name)
    (folder / "peak.c").write_text(PEAK if has_peak(isas) else "")
    command = [sys.executable, "-m", "ziglang", "cc", "-shared", "-O3", "-march=native"]
    subprocess.run([*command, "peak.c", *objects, "-o", "k.so", "-lm"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "k.so"))


def has_peak(isas: list[Isa]) -> bool:
    return "avx512vpopcntdq" in isas[0].needs


def aligned(x: np.ndarray) -> np.ndarray:
    """A copy at a 64-byte boundary."""
    raw = np.zeros(x.nbytes + 64, np.uint8)
    out = raw[-raw.ctypes.data % 64 :][: x.nbytes].view(x.dtype).reshape(x.shape)
    out[...] = x
    return out


class Product:
    """m rows of signs through a weight [N, K] of signs, and the same product in float32."""

    def __init__(self, m: int, N: int, K: int):
        self.shape, self.kernel = (m, N, K), binary.gemm(N, K)
        rng = np.random.default_rng(0)
        self.codes, self.signs = (rng.choice(np.array([-1, 1], np.float32), (n, K)) for n in (N, m))
        self.weight = aligned(binary_pack.pack(self.codes, np.ones(N, np.float32)))
        self.scale, self.out = aligned(np.ones(m, np.float32)), aligned(np.empty((m, N), np.float32))
        self.label, self.tera = f"{m}x{N}x{K}", 2 * m * N * K / 1e12

    def binary(self, lib: ctypes.CDLL, isa: Isa) -> Call:
        (m, N, _), f = self.shape, lib[f"{self.kernel.name}_{isa.name}"]
        q = aligned(binary_pack.panels(binary_pack.pack_signs(self.signs), isa))

        def part(t: int, n: int) -> None:
            w, sa, o = map(address, (self.weight, self.scale, self.out))
            f(N // 16 * t // n, N // 16 * (t + 1) // n, m, w, None, address(q), sa, None, o)

        part(0, 1)
        assert np.array_equal(self.out, self.signs @ self.codes.T), isa.name
        return part, self.tera

    def blas(self) -> Call:
        weight, out = np.ascontiguousarray(self.codes.T), np.empty_like(self.out)
        return lambda t, n: np.matmul(self.signs, weight, out=out) if t == 0 else None, self.tera


def calls(isas: list[Isa], only: str) -> dict[str, Call]:
    """What a round runs."""
    products = [Product(*shape) for shape in SHAPES if only in "x".join(map(str, shape))]
    lib = build([p.kernel for p in products], isas)
    found: dict[str, Call] = {}
    if has_peak(isas):
        found["peak"] = (lambda t, n: lib.peak(ctypes.c_int64(PEAK_STEPS // n)), PEAK_STEPS * PEAK_OPS / 1e12)
    for p in products:
        found[f"{p.label} OpenBLAS f32"] = p.blas()
        found |= {f"{p.label} {isa.name}": p.binary(lib, isa) for isa in isas if isa.accumulators > 1}
    return found


def measure(rounds: int, only: str = "") -> list[dict[str, object]]:
    """One row a case: median Top/s, and the medians of its ratios to float32's product and to the peak."""
    work, pool = calls(variants(), only), Alone() if THREADS == 1 else Pool(THREADS)
    kept = [{name: amount / pool.seconds(f) for name, (f, amount) in work.items()} for _ in range(rounds + 1)][1:]
    rows: list[dict[str, object]] = []
    for name in work:
        blas = f"{name.split()[0]} OpenBLAS f32"
        row: dict[str, object] = {"case": name, "tera": float(np.median([r[name] for r in kept]))}
        if blas in work and blas != name:
            row["blas"] = float(np.median([r[name] / r[blas] for r in kept]))
            row["peak"] = float(np.median([r[name] / r["peak"] for r in kept])) if "peak" in work else None
        rows.append(row)
    return rows


def modelled() -> list[dict[str, object]]:
    """Cycles of 1000 multiply-adds in the hot loops of float32's GEMM and of the binary one, by CPU and variant."""
    folder, rows = Path(tempfile.mkdtemp()), []
    f32, bits = linear_float.gemm(*ARM_SHAPE, WeightFormat.parse("f32")), binary.gemm(*ARM_SHAPE)
    for isa in find("arm64").isas:
        path = folder / f"{isa.name}.o"
        compile_object([f32, bits], isa, path)
        loops = [hottest(path, f"{k.name}_{isa.name}", op) for k, op in ((f32, "fmla"), (bits, "cnt"))]
        for cpu in ARM_CPUS[isa.name]:
            row = {name: 1000 * cycles(loop, cpu) for name, loop in zip(("f32", "binary"), loops, strict=True)}
            rows.append({"cpu": cpu, "isa": isa.name, **row})
    return rows


def hottest(path: Path, symbol: str, op: str) -> Stretch:
    """The innermost loop with most of an instruction."""
    bodies = innermost_loops(disassemble(path, [symbol])[symbol])
    return Stretch(max(bodies, key=lambda body: sum(i.mnemonic == op for i in body)), 0, True)


def cycles(loop: Stretch, cpu: str) -> float:
    """Of one multiply-add."""
    return mca(loop, cpu).total / sum(PRODUCTS.get(i.mnemonic, 0) for i in loop.body)


def show(rows: list[dict[str, object]], arm64: bool) -> None:
    if arm64:
        print("modelled (llvm-mca, hot loops): cycles of 1000 multiply-adds")
        for r in rows:
            figures = f"f32 {r['f32']:6.1f}  binary {r['binary']:6.2f}  {r['f32'] / r['binary']:5.1f}x fewer"
            print(f"{r['cpu']:12s} {r['isa']:8s} {figures}")
        return
    print(f"{THREADS} threads{', CPU time' if THREADS == 1 else ''}; load {os.getloadavg()[0]:.1f}")
    for r in rows:
        blas = f"{r['blas']:6.1f}x float32" if "blas" in r else ""
        peak = f"{r['peak']:7.1%} of peak" if r.get("peak") else ""
        print(f"{r['case']:32s} {r['tera']:7.2f} Top/s {blas}{peak}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arm64", action="store_true", help="modelled cycles on ARM")
    parser.add_argument("--cpu", action="store_true", help="one thread, its CPU time")
    parser.add_argument("--only", default="", help="shapes whose name contains this")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = modelled() if args.arm64 else measure(args.rounds, args.only)
    if args.json:
        print(json.dumps({"threads": THREADS, "modelled": args.arm64, "rows": rows}))
    else:
        show(rows, args.arm64)


if __name__ == "__main__":
    main()
