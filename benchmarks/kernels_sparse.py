"""2:4 sparse linears on this machine beside our dense ones: GEMV from DRAM and from cache, GEMM.

python benchmarks/kernels_sparse.py [--isa avx512vnni] [--threads 2] [--rounds 15] [--only gemv] [--cpu] [--json]

Every round runs each case once, sparse and dense in turn, each on all threads; times are medians over the rounds,
ratios medians of the rounds' ratios of the dense kernel's time to the sparse one's (above 1: the sparse one is faster).
Weights of a DRAM case are larger than any cache; those of a cache case are run again and again. `--cpu` runs one thread
and counts its own CPU time: what a busy machine disturbs least.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from kernels_x86 import Alone, Pool, address, build

from edgeq.kernels import linear_int, sparse
from edgeq.kernels.kernel import Kernel
from edgeq.quant.format import WeightFormat
from edgeq.targets import x86_64

PAIRS = (("s8", "w8"), ("s4g64", "w4g64"), ("s4g64", "w8"), ("s8", "w4g64"))
DRAM_BYTES = 300_000_000  # of the dense w8 weight
GEMV = ((0, 2048), (0, 8192), (576, 1536), (1024, 1024))  # N (0: so many that the weight lies in DRAM), K
GEMM = ((2048, 2048, 256), (576, 1536, 64))  # N, K, m
PART = Callable[[int, int], None]


@dataclass
class Case:
    """One product, a kernel a format: `runs` calls are one measurement."""

    name: str
    calls: dict[str, PART]
    runs: int


def random_bytes(n: int) -> np.ndarray:
    """A 64-byte aligned array."""
    raw = np.random.default_rng(0).integers(0, 256, n + 64, dtype=np.uint8)
    return raw[-raw.ctypes.data % 64 :][:n]


def cases(isa: x86_64.Isa, only: str) -> list[Case]:
    """Weights are random bytes: every byte is a code, every pair of bits a place."""
    formats = {text: WeightFormat.parse(text) for text in dict.fromkeys(sum(PAIRS, ()))}
    shapes = [(N or DRAM_BYTES // K // 16 * 16, K, 1) for N, K in GEMV] + list(GEMM)
    named = {s: f"gemv {s[0]}x{s[1]}" if s[2] == 1 else f"gemm {s[2]}x{s[0]}x{s[1]}" for s in shapes}
    named = {s: name + (" DRAM" if s[0] * s[1] > 1e8 else "") for s, name in named.items()}
    shapes = [s for s in shapes if only in named[s]]
    kernels = {(s, text): _kernel(s, fmt) for s in shapes for text, fmt in formats.items()}
    lib, weights = build(list(kernels.values()), isa), random_bytes(DRAM_BYTES * 5 // 4)
    found = []
    for s in shapes:
        calls = {t: _call(lib[f"{kernels[s, t].name}_{isa.name}"], s, weights) for t in formats}
        found.append(Case(named[s], calls, max(1, round(2e8 / (s[0] * s[1] * max(1, s[2] // 4))))))
    return found


def _kernel(shape: tuple[int, int, int], fmt: WeightFormat) -> Kernel:
    family = sparse if fmt.meaning.sparse else linear_int
    return (family.gemv if shape[2] == 1 else family.gemm)(*shape[:2], fmt)


def _call(f: Callable[..., None], shape: tuple[int, int, int], weights: np.ndarray) -> PART:
    N, K, m = shape
    q, o = random_bytes(m * K), random_bytes(4 * m * N)
    corr, sa = np.zeros(m * K // 16, np.int32), np.ones(m, np.float32)
    head = [] if m == 1 else [m]

    def part(t: int, n: int) -> None:
        units = N // 16
        f(units * t // n, units * (t + 1) // n, *head, *map(address, (weights,)), None, address(q), address(corr),
          address(sa), None, address(o))  # fmt: skip

    return part


def measure(found: list[Case], pool: Pool | Alone, rounds: int) -> dict[tuple[str, str], list[float]]:
    """(case, format) -> seconds of a call in every round but the first."""
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds + 1):
        for case in found:
            for text, part in case.calls.items():

                def repeated(t: int, n: int, part: PART = part, runs: int = case.runs) -> None:
                    for _ in range(runs):
                        part(t, n)

                times.setdefault((case.name, text), []).append(pool.seconds(repeated) / case.runs)
    return {key: values[1:] for key, values in times.items()}


def summary(found: list[Case], times: dict[tuple[str, str], list[float]]) -> list[dict[str, Any]]:
    """One row a case: microseconds of each format, ratios of each pair."""
    rows: list[dict[str, Any]] = []
    for case in found:
        us = {text: float(np.median(times[case.name, text])) * 1e6 for text in case.calls}
        pairs = {(a, b): np.divide(times[case.name, b], times[case.name, a]) for a, b in PAIRS}
        ratios = {f"{b}/{a}": float(np.median(r)) for (a, b), r in pairs.items()}
        rows.append({"case": case.name, "us": us, "ratio": ratios})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isa", default="avx512vnni", choices=[i.name for i in x86_64.TARGET.isas])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="substring of the cases to run")
    parser.add_argument("--cpu", action="store_true", help="one thread, its CPU time")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    isa = next(i for i in x86_64.TARGET.isas if i.name == args.isa)
    found = cases(isa, args.only)
    rows = summary(found, measure(found, Alone() if args.cpu else Pool(args.threads), args.rounds))
    if args.json:
        print(json.dumps({"isa": isa.name, "threads": 1 if args.cpu else args.threads, "rows": rows}))
        return
    print(f"{isa.name}, {'1 thread, CPU time' if args.cpu else f'{args.threads} threads'}; microseconds")
    for row in rows:
        us = " ".join(f"{t} {v:9.1f}" for t, v in row["us"].items())
        print(f"{row['case']:24s} {us}  {'  '.join(f'{p} {r:4.2f}x' for p, r in row['ratio'].items())}")


if __name__ == "__main__":
    main()
