"""What a static activation scale saves: CPU time of the quantization kernels, with a scale a row and with one known.

python benchmarks/kernels_quantize.py [--isa avx512vnni] [--rounds 30]

A call quantizes one row (decode) or 64 (prefill), the norm before it included. Figures are the least thread CPU time of
a call over the rounds, which alternate between the two: what a busy machine disturbs least.
"""

from __future__ import annotations

import argparse
import ctypes
import time
from collections.abc import Callable

import numpy as np
from kernels_x86 import build

from edgeq.kernels import quantize
from edgeq.kernels.kernel import Kernel
from edgeq.measure.machine import this_machine
from edgeq.targets import find

SHAPES = [(576, None), (576, "rms"), (1536, None), (2048, "rms"), (8192, None), (384, "layer"), (1536, "rms")]
ROWS, REPEATS = 64, 200
Call = Callable[[], None]


def kernels() -> list[Kernel]:
    """Each shape for one row and for rows, dynamic and static."""
    return [
        make(K, 32, 8, norm, 1e-5 if norm else 0.0, static=static)
        for K, norm in SHAPES
        for make in (quantize.quantize, quantize.quantize_rows)
        for static in (False, True)
    ]


def caller(library: ctypes.CDLL, kernel: Kernel, isa: str, memory: list[np.ndarray]) -> Call:
    """A call of the kernel over its rows: x, nw, nb, xs, q, corr, sa are given, `xs` dropped where it is not taken."""
    x, nw, nb, xs, q, corr, sa = memory
    chunk = kernel.family.endswith("_rows")
    given = [x, nw, nb, xs, q, corr, sa] if kernel.options["static"] else [x, nw, nb, q, corr, sa]
    numbers = [0, ROWS // 16, ROWS] if chunk else [0, 1]
    arguments = [ctypes.c_int(n) for n in numbers] + [ctypes.c_void_p(a.ctypes.data) for a in given]
    function = getattr(library, f"{kernel.name}_{isa}")
    return lambda: function(*arguments)


def seconds(call: Call) -> float:
    """Thread CPU time of one call."""
    start = time.thread_time()
    for _ in range(REPEATS):
        call()
    return (time.thread_time() - start) / REPEATS


def main() -> None:
    """Print microseconds a call, shape by shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isa", default="")
    parser.add_argument("--rounds", type=int, default=30)
    asked = parser.parse_args()
    isas = [i for i in find("native").isas if set(i.needs) <= set(this_machine().features)]
    isa = next(i for i in isas if i.name == asked.isa or not asked.isa)
    made = kernels()
    library = build(made, isa)
    rng = np.random.default_rng(0)
    print(f"{isa.name}, microseconds of one thread\n| K | norm | rows | a scale a row | static | less |")
    print("|---|---|---|---|---|---|")
    for kernel, static in zip(made[::2], made[1::2], strict=True):
        K, norm = kernel.options["K"], kernel.options["norm"] or "none"
        memory = [rng.standard_normal((ROWS, K)), *rng.standard_normal((2, K + 16)), np.full(1, 0.03)]
        floats = [a.astype(np.float32) for a in memory]
        out = [np.zeros((ROWS, K), np.int8), np.zeros((ROWS, K // 32 + 1), np.int32), np.zeros(ROWS, np.float32)]
        pair = [caller(library, k, isa.name, floats + out) for k in (kernel, static)]
        one, other = np.array([[seconds(call) for call in pair] for _ in range(asked.rounds)]).min(0) * 1e6
        rows = ROWS if kernel.family.endswith("_rows") else 1
        print(f"| {K} | {norm} | {rows} | {one:.2f} | {other:.2f} | {1 - other / one:.0%} |")


if __name__ == "__main__":
    main()
