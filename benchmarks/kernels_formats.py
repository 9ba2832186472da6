"""GEMV and GEMM of every integer-coded weight format beside our own w4a8, on this machine.

python benchmarks/kernels_formats.py [--isa avx512vnni] [--threads 2] [--rounds 15] [--only w2] [--cpu] [--json]

All formats multiply a weight of one shape. Every round measures the read bandwidth, then each case once, each on all
threads; times are medians over the rounds, ratios medians of the rounds' ratios of the base format's time (same group
size where it has one) to this one's: above 1, this one is faster. GEMV weights lie in DRAM, 2048x2048 GEMV weights in a
cache. `--cpu` runs one thread and counts its own CPU time: what a busy machine disturbs least.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from kernels_x86 import WEIGHT_BYTES, Alone, Pool, address, build, random_bytes

from edgeq.kernels import linear_int
from edgeq.kernels.kernel import Kernel
from edgeq.quant.format import WeightFormat
from edgeq.targets import x86_64

FORMATS = (
    "w4g32", "w4g128", "w8g128", "w4g32m", "w3g32", "w3g128", "w2g32", "w2g64", "w2g128", "w2g128a",
    "t2g128", "t1.6g256", "w1g128", "nf4g64", "mxfp4", "log4t2g128",
)  # fmt: skip
BASES = {32: "w4g32"}  # by group size; else w4g128
SHAPES = {"gemv DRAM": (1, 1 << 16, 4096), "gemv cache": (1, 2048, 2048), "gemm": (128, 2048, 2048)}  # m, N, K
RUNS = {"gemv DRAM": 1, "gemv cache": 30, "gemm": 1}  # calls of one measurement


@dataclass
class Case:
    """One product in one format."""

    shape: str
    text: str
    kernel: Kernel

    @property
    def name(self) -> str:
        """As printed."""
        return f"{self.shape} {self.text}"

    @property
    def base(self) -> str:
        """Name of the case that this one is compared with."""
        return f"{self.shape} {BASES.get(WeightFormat.parse(self.text).group_size, 'w4g128')}"

    def call(self, f: Callable[..., None], weights: np.ndarray) -> Callable[[int, int], None]:
        """f(part, parts)."""
        m, N, K = SHAPES[self.shape]
        q, o, one = random_bytes(m * K), np.empty((m, N), np.float32), np.ones(m, np.float32)
        corr, head = np.zeros(m * WeightFormat.parse(self.text).groups(K), np.int32), () if m == 1 else (m,)
        arrays = [address(weights), None, address(q), address(corr), address(one), None, address(o)]
        units, kept = N // 16, (q, corr, one, o, weights)

        def part(t: int, n: int) -> None:
            for _ in range(RUNS[self.shape]):
                f(units * t // n, units * (t + 1) // n, *head, *arrays)
            assert kept

        return part


def cases(only: str) -> list[Case]:
    """Those whose name contains `only`, and what they are compared with."""
    every = []
    for shape, (m, N, K) in SHAPES.items():
        for text in FORMATS:
            make = linear_int.gemv if m == 1 else linear_int.gemm
            every.append(Case(shape, text, make(N, K, WeightFormat.parse(text))))
    chosen = [c for c in every if only in c.name]
    wanted = {c.name for c in chosen} | {c.base for c in chosen}
    return [c for c in every if c.name in wanted]


def measure(found: list[Case], isa: x86_64.Isa, pool: Pool | Alone, rounds: int) -> list[dict[str, float]]:
    """Seconds of every case, a dictionary a round."""
    lib, weights = build([c.kernel for c in found], isa), random_bytes(WEIGHT_BYTES)
    calls = {c.name: c.call(lib[f"{c.kernel.name}_{isa.name}"], weights) for c in found}
    words = WEIGHT_BYTES // 8

    def read(t: int, n: int) -> None:
        lib.read_sum(address(weights), *(np.ctypeslib.ctypes.c_int64(words * i // n) for i in (t, t + 1)))

    calls["read"] = read
    return [{name: pool.seconds(f) for name, f in calls.items()} for _ in range(rounds + 1)][1:]


def rows(found: list[Case], kept: list[dict[str, float]]) -> list[dict[str, object]]:
    """One a case: milliseconds, GB/s of weights, share of the bandwidth, ratio to the base format."""
    speed = [WEIGHT_BYTES / r["read"] for r in kept]
    table = []
    for c in found:
        size, runs = c.kernel.weight_bytes, RUNS[c.shape]
        times = np.array([r[c.name] / runs for r in kept])
        table.append({
            "case": c.name, "bits": round(size * 8 / c.kernel.ops, 2), "ms": float(np.median(times)) * 1e3,
            "GB/s": float(np.median(size / times)) / 1e9, "of read": float(np.median(size / times / speed)),
            "ratio": float(np.median([r[c.base] / r[c.name] for r in kept])), "base": c.base.split()[-1],
        })  # fmt: skip
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isa", default="avx512vnni", choices=[i.name for i in x86_64.TARGET.isas])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="substring of the cases to run: a shape, a format")
    parser.add_argument("--cpu", action="store_true", help="one thread, its CPU time")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    isa, found = next(i for i in x86_64.TARGET.isas if i.name == args.isa), cases(args.only)
    threads = 1 if args.cpu else args.threads
    kept = measure(found, isa, Alone() if args.cpu else Pool(threads), args.rounds)
    table = rows(found, kept)
    if args.json:
        print(json.dumps({"isa": isa.name, "threads": threads, "cpu_time": args.cpu, "rows": table}))
        return
    speed = WEIGHT_BYTES / float(np.median([r["read"] for r in kept])) / 1e9
    print(f"{isa.name}, {threads} threads{', CPU time' if args.cpu else ''}, read {speed:.1f} GB/s")
    for r in table:
        speed_text = f"{r['GB/s']:6.1f} GB/s ({r['of read']:4.0%} of read)"
        print(f"{r['case']:24s} {r['bits']:5.2f} bits {r['ms']:8.3f} ms {speed_text} {r['ratio']:5.2f}x {r['base']}")


if __name__ == "__main__":
    main()
