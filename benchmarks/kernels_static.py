"""Speed of the kernels of static entries on this machine, one thread: attention, float and int8 matrix products.

python benchmarks/kernels_static.py [--isa avx512vnni] [--rounds 30] [--only attend] [--json]

Every figure is of the thread's own CPU time, which a busy machine disturbs least: best and median of the rounds. A
multiply-add counts as two operations. `numpy` is OpenBLAS on the same shape, on one thread, in the same run.
"""

from __future__ import annotations

import argparse
import json
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when numpy is imported

from collections.abc import Callable

import numpy as np
from kernels_x86 import Alone, address, build

from edgeq.kernels import attend, linear_float, linear_int
from edgeq.kernels.kernel import Kernel
from edgeq.quant.format import WeightFormat
from edgeq.targets import x86_64

ATTEND = {  # S = L, heads, channels of a head, pad, bias
    "attend MiniLM 128": (128, 12, 32, True, ""),
    "attend MiniLM 32": (32, 12, 32, True, ""),
    "attend ViT 197": (197, 12, 64, False, ""),
    "attend SAM window 14x14": (196, 12, 64, False, "grid:14,14"),
    "attend SAM 64x64, 1 head": (4096, 1, 64, False, "grid:64,64"),
}
GEMM = [(32, 384, 1536), (128, 384, 1536), (128, 1536, 384), (197, 768, 768), (1024, 768, 3072)]  # rows, K, N
FORMATS = ("f32", "w8", "w4g32")
Case = tuple[Kernel, int, list[np.ndarray | int | None], float]  # kernel, units, arguments, operations


def aligned(x: np.ndarray) -> np.ndarray:
    """A copy at a 64-byte boundary."""
    raw = np.zeros(x.nbytes + 64, np.uint8)
    out = raw[-raw.ctypes.data % 64 :][: x.nbytes].view(x.dtype).reshape(x.shape)
    out[...] = x
    return out


def attention(rng: np.random.Generator, S: int, H: int, D: int, pad: bool, bias: str) -> Case:
    """q, k and v are thirds of one row, as a merged projection leaves them."""
    kernel = attend.attend(1, S, S, H, H, D, D, *[3 * H * D] * 3, D**-0.5, pad=pad, bias=bias)
    qkv = aligned(rng.standard_normal((S + 1, 3 * H * D), np.float32))
    parts = [qkv.reshape(-1)[i * H * D :] for i in range(3)]
    grid = aligned(rng.standard_normal((2, H, S, 64), np.float32)) if bias else [None, None]
    scratch = aligned(np.zeros(attend.scratch_bytes(kernel) // 4, np.float32))
    real = aligned(np.ones((1, S + 16), np.int32))
    o = aligned(np.zeros((S, H * D), np.float32))
    return kernel, attend.units(kernel), [*parts, real, None, *grid, scratch, o], 4.0 * S * S * H * D


def product(rng: np.random.Generator, text: str, m: int, K: int, N: int) -> Case:
    """m rows through a weight [N, K] with bias."""
    fmt, rows = WeightFormat.parse(text), -(-m // 16) * 16
    bias, o = aligned(np.zeros(N, np.float32)), aligned(np.zeros((rows, N), np.float32))
    if fmt.is_float:
        w = aligned(rng.standard_normal(N * K, np.float32))
        x = [aligned(rng.standard_normal((rows, K), np.float32))]
    else:
        w = aligned(rng.integers(0, 60, fmt.nbytes(N, K), np.uint8))  # below 60: finite as fp16 scales too
        corr, sa = aligned(np.zeros(rows * fmt.groups(K), np.int32)), aligned(np.ones(rows, np.float32))
        x = [aligned(rng.integers(-127, 128, (rows, K), np.int8)), corr, sa]
    make = linear_float.gemm if fmt.is_float else linear_int.gemm
    return make(N, K, fmt, "store", True), N // 16, [m, w, bias, *x, None, o], 2.0 * m * K * N


def cases(only: str) -> dict[str, Case]:
    """Those whose name contains `only`."""
    rng = np.random.default_rng(0)
    found = {name: (attention, args) for name, args in ATTEND.items()}
    found |= {f"gemm {f} {'x'.join(map(str, s))}": (product, (f, *s)) for f in FORMATS for s in GEMM}
    return {name: make(rng, *args) for name, (make, args) in found.items() if only in name}


def speeds(call: Callable[[], object], operations: float, rounds: int) -> tuple[float, float]:
    """Best and median, in 10**9 operations a second."""
    one = Alone()
    seconds = [one.seconds(lambda part, parts: call()) for _ in range(rounds + 1)][1:]
    return operations / min(seconds) / 1e9, operations / float(np.median(seconds)) / 1e9


def openblas(name: str, rounds: int) -> float:
    """The best that numpy reaches on a gemm's shape."""
    m, K, N = map(int, name.split()[-1].split("x"))
    a, b = np.ones((m, K), np.float32), np.ones((K, N), np.float32)
    return speeds(lambda: a @ b, 2.0 * m * K * N, rounds)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isa", default="avx512vnni", choices=[i.name for i in x86_64.TARGET.isas])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--only", default="", help="substring of the cases to run")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    isa, chosen = next(i for i in x86_64.TARGET.isas if i.name == args.isa), cases(args.only)
    lib, rows = build([case[0] for case in chosen.values()], isa), []
    for name, (kernel, units, given, operations) in chosen.items():
        function = lib[f"{kernel.name}_{isa.name}"]
        values = [address(a) if isinstance(a, np.ndarray) else a for a in given]
        best, median = speeds(lambda f=function, v=values, u=units: f(0, u, *v), operations, args.rounds)
        numpy = openblas(name, args.rounds) if "f32" in name else None
        rows.append({"case": name, "best": best, "median": median, "numpy": numpy})
    if args.json:
        print(json.dumps({"isa": isa.name, "rounds": args.rounds, "unit": "Gop/s", "rows": rows}))
        return
    print(f"{isa.name}, one thread, its CPU time, {args.rounds} rounds; Gop/s")
    for r in rows:
        beside = f"   numpy {r['numpy']:6.1f}" if r["numpy"] else ""
        print(f"{r['case']:26s} best {r['best']:7.1f}   median {r['median']:7.1f}{beside}")


if __name__ == "__main__":
    main()
