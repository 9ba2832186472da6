"""Speed of the linear kernels on this machine: GEMV against measured read bandwidth, GEMM in operations a second.

python benchmarks/kernels_x86.py [--isa avx512vnni] [--threads 2] [--rounds 15] [--only gemv] [--cpu] [--json]

Every round measures the read bandwidth and each kernel one after the other, each on all threads; figures are medians
over the rounds in which other processes used less than 12 % of one CPU (over all rounds when fewer than five were
quiet; the count is printed), and a GEMV's share of the bandwidth is the median of the rounds' ratios. GEMV weights are
larger than any cache. One multiply-add counts as two operations. `--cpu` runs one thread and counts its own CPU time:
the figure that a busy machine disturbs least.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from edgeq.kernels import linear_int
from edgeq.kernels.compile import compile_object
from edgeq.kernels.kernel import Kernel
from edgeq.quant.format import WeightFormat
from edgeq.targets import x86_64

READ = """
#include <stdint.h>
uint64_t read_sum(const uint64_t *p, int64_t lo, int64_t hi) {
  uint64_t s[64] = {0}, t = 0;
  for (int64_t i = lo; i + 64 <= hi; i += 64) for (int j = 0; j < 64; j++) s[j] += p[i + j];
  for (int j = 0; j < 64; j++) t += s[j];
  return t;
}
"""
QUIET, WEIGHT_BYTES = 0.12, 400_000_000
GEMV = [(f, K) for f, K in itertools.product(("w4g32", "w4g128", "w4g32a", "w8", "w8g32"), (2048, 8192))]
GEMM = [(f, *kn) for f, kn in itertools.product(("w4g32", "w4g128", "w4g32a", "w8"), ((2048, 8192), (8192, 2048)))]


def busy() -> tuple[float, float]:
    """Seconds of CPU used so far by the machine and by this process."""
    ticks = [int(v) for v in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    own = resource.getrusage(resource.RUSAGE_SELF)
    return (sum(ticks[:3]) + sum(ticks[5:])) / 100, own.ru_utime + own.ru_stime


class Pool:
    """Runs `f(part, parts)` on every thread at once; ctypes calls release Python's lock."""

    def __init__(self, threads: int):
        self.threads, self.executor = threads, ThreadPoolExecutor(threads)

    def seconds(self, f: Callable[[int, int], None]) -> float:
        start = time.perf_counter()
        list(self.executor.map(lambda t: f(t, self.threads), range(self.threads)))
        return time.perf_counter() - start


class Alone:
    """One thread, timed by the CPU time it used."""

    def seconds(self, f: Callable[[int, int], None]) -> float:
        start = time.thread_time()
        f(0, 1)
        return time.thread_time() - start


def build(kernels: list[Kernel], isa: x86_64.Isa) -> ctypes.CDLL:
    """Kernels and the bandwidth loop as one loaded library."""
    folder = Path(tempfile.mkdtemp())
    compile_object(kernels, isa, folder / "k.o")
    (folder / "read.c").write_text(READ)
    command = [sys.executable, "-m", "ziglang", "cc", "-shared", "-O3", "-march=native", "-fno-sanitize=all"]
    subprocess.run([*command, "read.c", "k.o", "-o", "k.so", "-lm"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "k.so"))


def random_bytes(size: int) -> np.ndarray:
    """uint8[size] at a 64-byte boundary."""
    raw = np.empty(size + 64, np.uint8)
    out = raw[-raw.ctypes.data % 64 :][:size]
    small = np.random.default_rng(0).integers(0, 60, 1 << 20, dtype=np.uint8)  # below 60: finite as fp16 scales too
    out[:] = np.resize(small, size)
    return out


def address(a: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(a.ctypes.data)


class Gemv:
    """One weight larger than any cache."""

    def __init__(self, form: str, K: int):
        fmt = WeightFormat.parse(form)
        self.N = WEIGHT_BYTES // fmt.tile_bytes(K) * 16
        self.name, self.kernel = f"gemv {form} K={K}", linear_int.gemv(self.N, K, fmt)
        self.work, self.unit = self.kernel.weight_bytes / 1e9, "GB/s"
        one, corr = np.ones(1, np.float32), np.zeros(fmt.groups(K), np.int32)
        self.arrays = [random_bytes(K), corr, one, np.empty(self.N, np.float32)]

    def call(self, f: Callable[..., None], weights: np.ndarray) -> Callable[[int, int], None]:
        def part(t: int, n: int) -> None:
            (q, corr, sa, o), units = map(address, self.arrays), self.N // 16
            f(units * t // n, units * (t + 1) // n, address(weights), None, q, corr, sa, None, o)

        return part


class Gemm:
    """256 rows through one weight."""

    def __init__(self, form: str, K: int, N: int, isa: x86_64.Isa, m: int = 256):
        fmt = WeightFormat.parse(form)
        self.m, self.N = m, N
        self.name, self.kernel = f"gemm {form} {m}x{K}x{N}", linear_int.gemm(N, K, fmt)
        self.work, self.unit = 2 * m * self.kernel.ops / 1e12, "Top/s"
        ones, corr = np.ones(m, np.float32), np.zeros(m * fmt.groups(K), np.int32)
        self.arrays = [random_bytes(m * K), corr, ones, np.empty((m, N), np.float32)]

    def call(self, f: Callable[..., None], weights: np.ndarray) -> Callable[[int, int], None]:
        def part(t: int, n: int) -> None:
            (q, corr, sa, o), units = map(address, self.arrays), self.N // 16
            f(units * t // n, units * (t + 1) // n, self.m, address(weights), None, q, corr, sa, None, o)

        return part


Call = tuple[Callable[[int, int], None], float]  # f(part, parts), and its work in units of the figure


def calls(cases: list[Gemv | Gemm], isa: x86_64.Isa) -> dict[str, Call]:
    """What a round runs: the bandwidth loop ("read"), then every case."""
    lib, weights = build([c.kernel for c in cases], isa), random_bytes(WEIGHT_BYTES + (1 << 20))
    words = WEIGHT_BYTES // 8

    def read(t: int, n: int) -> None:
        lib.read_sum(address(weights), ctypes.c_int64(words * t // n), ctypes.c_int64(words * (t + 1) // n))

    found: dict[str, Call] = {"read": (read, WEIGHT_BYTES / 1e9)}
    for c in cases:
        found[c.name] = (c.call(lib[f"{c.kernel.name}_{isa.name}"], weights), c.work)
    return found


def measure(work: dict[str, Call], pool: Pool | Alone, rounds: int) -> tuple[list[dict[str, float]], int]:
    """({name: figure} of every kept round, how many rounds were quiet)."""
    results, foreign = [], []
    for _ in range(rounds + 1):
        (machine, own), start = busy(), time.perf_counter()
        results.append({name: amount / pool.seconds(f) for name, (f, amount) in work.items()})
        after = busy()
        foreign.append((after[0] - machine - after[1] + own) / (time.perf_counter() - start))
    quiet = [r for r, used in zip(results[1:], foreign[1:], strict=True) if used < QUIET]  # the first one warms up
    return (quiet if len(quiet) >= 5 else results[1:]), len(quiet)


def summary(cases: list[Gemv | Gemm], kept: list[dict[str, float]]) -> list[dict[str, object]]:
    """One row a case: median, best, unit, and the GEMV's median share of the same round's bandwidth."""
    rows = []
    for name, unit in [("read", "GB/s"), *((c.name, c.unit) for c in cases)]:
        values = [r[name] for r in kept]
        share = float(np.median([r[name] / r["read"] for r in kept])) if unit == "GB/s" else None
        median = float(np.median(values))
        rows.append({"case": name, "median": median, "best": max(values), "unit": unit, "share": share})
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
    every: list[Gemv | Gemm] = [*(Gemv(*g) for g in GEMV), *(Gemm(*g, isa) for g in GEMM)]
    cases = [c for c in every if args.only in c.name]
    threads = 1 if args.cpu else args.threads
    kept, quiet = measure(calls(cases, isa), Alone() if args.cpu else Pool(threads), args.rounds)
    rows = summary(cases, kept)
    if args.json:
        setting = {"isa": isa.name, "threads": threads, "cpu_time": args.cpu, "rounds": args.rounds, "quiet": quiet}
        print(json.dumps({**setting, "rows": rows}))
        return
    print(f"{isa.name}, {threads} threads{', CPU time' if args.cpu else ''}, {quiet} of {args.rounds} rounds quiet")
    for r in rows:
        share = f"{r['share']:6.1%} of read" if r["share"] else ""
        print(f"{r['case']:28s} {r['median']:7.2f} (best {r['best']:6.2f}) {r['unit']:5s} {share}")


if __name__ == "__main__":
    main()
