"""Attention with coded probabilities beside float attention, one thread: `log2` and `int8` softmax x V.

python benchmarks/kernels_attend.py [--isa avx512vnni] [--rounds 30] [--only ViT]

Every figure is of the thread's own CPU time; kernels take turns, and ratios are medians over rounds of times measured
one after the other. Coded attention includes the quantization of its values. Scores are random: `peak` scales them, so
that a row's largest probability is small (flat) or near 1.
"""

from __future__ import annotations

import argparse

import kernels_static
import numpy as np
from kernels_static import ATTEND, aligned
from kernels_x86 import Alone, address, build

from edgeq.kernels import attend_codes, attend_values
from edgeq.kernels.kernel import Kernel
from edgeq.targets import x86_64

GRIDS = ("int8", "log2:4:1", "log2:4:2", "log2:4:4")
Call = tuple[Kernel, int, list[np.ndarray | int | None]]  # kernel, units, arguments


def coded(case: kernels_static.Case, probs: str, H: int, D: int, s: float) -> list[Call]:
    """The calls that take the place of float attention `case`."""
    kernel, units, given, _ = case
    options = {name: value for name, value in kernel.options.items() if name != "ldv"}
    made, L = attend_codes.attend_codes(**options, probs=probs), kernel.options["L"]
    values = attend_values.values(1, L, H, D, kernel.options["ldv"])
    vq, vs = aligned(np.zeros((H, -(-L // 4), D), np.int32)), aligned(np.zeros((H, D), np.float32))
    q, k, v, pad, bias, row_bias, column_bias, _, o = given
    scratch = aligned(np.zeros(attend_codes.scratch_bytes(made) // 4, np.float32))
    ps = aligned(np.full(1, s, np.float32))
    rest = [q, k, vq, vs, ps, pad, bias, row_bias, column_bias, scratch, o]
    return [(values, H, [v, vq, vs]), (made, units, rest)]


def interleaved(lib: object, isa: str, variants: dict[str, list[Call]], rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each variant in each round."""
    one, seconds = Alone(), {name: [] for name in variants}
    runs = {
        name: [(lib[f"{k.name}_{isa}"], u, [address(a) if isinstance(a, np.ndarray) else a for a in args])
               for k, u, args in calls]
        for name, calls in variants.items()
    }  # fmt: skip
    for turn in range(rounds + 1):
        for name, calls in runs.items():
            spent = one.seconds(lambda part, parts, calls=calls: [f(0, u, *args) for f, u, args in calls])
            seconds[name] += [spent] if turn else []
    return {name: np.array(spent) for name, spent in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isa", default="avx512vnni", choices=[i.name for i in x86_64.TARGET.isas])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--only", default="", help="substring of the cases to run")
    parser.add_argument("--peak", type=float, default=1.0, help="scores are multiplied by this")
    args = parser.parse_args()
    isa, rng = next(i for i in x86_64.TARGET.isas if i.name == args.isa), np.random.default_rng(0)
    print(f"{isa.name}, one thread, its CPU time, {args.rounds} rounds; time / time of int8 (median of rounds)")
    print(f"{'':28s} {'int8, ms':>9s}" + "".join(f" {name:>9s}" for name in ("float", *GRIDS[1:])))
    for name, (S, H, D, pad, bias) in ((n, a) for n, a in ATTEND.items() if args.only in n):
        case = kernels_static.attention(rng, S, H, D, pad, bias)
        case[2][0][:] *= args.peak
        s = min(1.0, 0.05 * args.peak**2)
        variants = {"float": [case[:3]]} | {grid: coded(case, grid, H, D, s) for grid in GRIDS}
        lib = build([kernel for calls in variants.values() for kernel, _, _ in calls], isa)
        spent = interleaved(lib, isa.name, variants, args.rounds)
        ratios = [np.median(spent[other] / spent["int8"]) for other in ("float", *GRIDS[1:])]
        print(f"{name:28s} {spent['int8'].min() * 1e3:9.3f}" + "".join(f" {r:9.2f}" for r in ratios), flush=True)


if __name__ == "__main__":
    main()
