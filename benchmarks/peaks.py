"""What this machine can do at most: bytes read a second, and operations a second from registers alone.

    python benchmarks/peaks.py [--threads 2] [--json]

`dot` is vpdpbusd (64 multiply-adds), `fma` vfmadd231ps (16), on AVX-512; one multiply-add counts as two operations. The
peak of exclusive or and popcount is `kernels_binary.py`'s. Each is the median of rounds in turns.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import bandwidth
from kernels_x86 import Pool

SOURCE = """
#include <stdint.h>
#define TEN(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)
#define DOT(i) "vpdpbusd %%zmm30, %%zmm31, %%zmm" #i "\\n"
#define FMA(i) "vfmadd231ps %%zmm30, %%zmm31, %%zmm" #i "\\n"
#define USED "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12"
#define LOOP(name, f) void name(int64_t n) { \\
  for (int64_t i = 0; i < n; i++) __asm__ volatile(TEN(f) ::: USED, "xmm13", "xmm14", "xmm15"); }
LOOP(peak_dot, DOT)
LOOP(peak_fma, FMA)
"""
STEPS, SUMS = 20_000_000, 16
PRODUCTS = {"dot": 64, "fma": 16}  # of an instruction


def build() -> ctypes.CDLL:
    """The loops, for this CPU; subprocess.CalledProcessError where it has no AVX-512."""
    folder = Path(tempfile.mkdtemp())
    (folder / "peaks.c").write_text(SOURCE)
    command = [sys.executable, "-m", "ziglang", "cc", "-shared", "-O2", "-march=native", "peaks.c", "-o", "peaks.so"]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "peaks.so"))


def measure(threads: int, rounds: int = 5) -> dict[str, float]:
    """`dot`, `fma` in operations a second, `read` in bytes a second."""
    lib, pool = build(), Pool(threads)
    found: dict[str, list[float]] = {name: [] for name in (*PRODUCTS, "read")}
    for _ in range(rounds):
        for name, products in PRODUCTS.items():
            seconds = pool.seconds(lambda t, n, f=lib[f"peak_{name}"]: f(ctypes.c_int64(STEPS // n)))
            found[name].append(STEPS * SUMS * products * 2 / seconds)
        found["read"].append(bandwidth.median_gb_s(bandwidth.measure(Path("build/bench"), threads)) * 1e9)
    return {name: statistics.median(values) for name, values in found.items()}


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.threads)
    if args.json:
        print(json.dumps(found))
        return
    read, dot, fma = found["read"] / 1e9, found["dot"] / 1e12, found["fma"] / 1e9
    print(f"read {read:.1f} GB/s, dot {dot:.2f} Top/s, fma {fma:.0f} GFLOP/s")


if __name__ == "__main__":
    main()
