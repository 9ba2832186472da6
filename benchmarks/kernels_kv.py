"""Attention of one new row over key/value caches of 16, 8, 4 and 2 bits on this machine, taking turns.

python benchmarks/kernels_kv.py [--threads 2] [--cpu] [--rounds 9] [--context 4096] [--json FILE]

A step is one row's attention in every layer, each with caches of its own. `DRAM`: so many layers that fp16's caches are
256 MB and the others' 128 MB, and nothing stays in the last cache. `L2`: one key head of one layer again and again,
over a quarter of the context, so that fp16 fits. Figures are medians over the rounds, ratios medians of the rounds'
ratios. Bytes: what a layer's attention reads. `--cpu`: one thread and its own CPU time, which a busy machine disturbs
least.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from kernels_binary import variants
from kernels_x86 import Alone, Pool, address, build

from edgeq.kernels import attention
from edgeq.kernels.kernel import Kernel
from edgeq.kernels.kv_blocks import BITS, WINDOW, pack_keys, pack_values
from edgeq.kernels.kv_cache import KvCache

MODELS = {"Llama-3.2-1B": (32, 8, 64), "SmolLM2-135M": (9, 3, 64), "Qwen3-0.6B": (16, 8, 128)}
CHUNK = 256  # of the ring
DRAM, LEAST, L2_STEPS = 256 << 20, 128 << 20, 16
KINDS = ("f16", "i8", "i4", "i2")


class Case:
    """Decode attention over `layers` caches of one kind."""

    def __init__(self, shape: tuple[int, int, int], kv: str, context: int, layers: int, rng: np.random.Generator):
        self.H, self.HK, self.D = shape
        ring = min(context, CHUNK + 128) if kv in BITS else 0
        self.cache, self.context = KvCache(self.HK, self.D, self.D, kv, context, ring), context
        ld = (self.H + 2 * self.HK) * self.D
        self.kernel: Kernel = attention.decode(self.H, self.HK, self.D, self.D, ld, kv, context, ring=ring)
        one = self._filled(rng)
        self.layers = [[_aligned(a) for a in one] for _ in range(layers)]
        self.qkv = _aligned(rng.normal(size=ld).astype(np.float32) * 0.3)
        self.out = [_aligned(np.zeros(self.H * self.D, np.float32)) for _ in range(2)]
        self.scratch = [_aligned(np.zeros(attention.scratch_bytes(context), np.uint8)) for _ in range(2)]

    def _filled(self, rng: np.random.Generator) -> list[np.ndarray]:
        """kc, vc, ks, vs of random keys and values."""
        k, v = (rng.normal(size=(self.HK, self.context, self.D)).astype(np.float32) for _ in range(2))
        blocks = self.cache.blocks
        if blocks:
            ring = rng.normal(size=(2, *self.cache.floats.value_shape)).astype(np.float16)
            return [pack_keys(blocks, k), pack_values(blocks, v), ring[0], ring[1]]
        (kc, ks), (vc, vs) = self.cache.store(k), self.cache.store(v)
        kc = kc.reshape(self.HK, -1, 16, self.D).transpose(0, 1, 3, 2)
        return [kc, vc, *(np.zeros(1, np.float32) if s is None else s for s in (ks, vs))]

    @property
    def bytes(self) -> int:
        """Read by one layer's attention of the last row."""
        sizes = self.cache.bytes
        if not self.cache.blocks:
            return sum(sizes.values())
        recent = WINDOW * 32 * self.HK * 2 * self.D * 2
        return sizes["kc"] + sizes["vc"] - recent * self.cache.blocks.bits // 16 + recent

    def run(self, lib: ctypes.CDLL, suffix: str) -> Callable[[int, int], None]:
        """`f(part, parts)`: a step."""
        f, pos = lib[f"{self.kernel.name}_{suffix}"], self.context - 1
        qkv, pointers = address(self.qkv), [[address(a) for a in layer] for layer in self.layers]

        def part(t: int, n: int) -> None:
            lo, hi = self.H * t // n, self.H * (t + 1) // n
            for layer in pointers:
                f(lo, hi, pos, qkv, *layer, address(self.scratch[t]), address(self.out[t]))

        return part


def _aligned(x: np.ndarray) -> np.ndarray:
    """A contiguous copy at a 64-byte boundary."""
    x = np.ascontiguousarray(x)
    raw = np.zeros(x.nbytes + 64, np.uint8)
    out = raw[-raw.ctypes.data % 64 :][: x.nbytes].view(x.dtype).reshape(x.shape)
    out[...] = x
    return out


def _dram(shape: tuple[int, int, int], kv: str, context: int, rng: np.random.Generator) -> Case:
    size = sum(KvCache(shape[1], shape[2], shape[2], kv, context).bytes.values())
    return Case(shape, kv, context, max(1, (DRAM if kv == "f16" else LEAST) // size), rng)


def _l2(shape: tuple[int, int, int], kv: str, context: int, rng: np.random.Generator) -> Case:
    one = Case((shape[0] // shape[1], 1, shape[2]), kv, context // 4, 1, rng)
    one.layers *= L2_STEPS
    return one


def measure(name: str, where: str, context: int, rounds: int, threads: int, cpu: bool) -> list[dict[str, object]]:
    """One row a kind of cache."""
    rng, isa = np.random.default_rng(0), variants()[0]
    cases = {kv: (_dram if where == "DRAM" else _l2)(MODELS[name], kv, context, rng) for kv in KINDS}
    lib = build([case.kernel for case in cases.values()], isa)
    pool = Alone() if cpu else Pool(threads)
    runs = {kv: case.run(lib, isa.name) for kv, case in cases.items()}
    each = [{kv: pool.seconds(f) / len(cases[kv].layers) for kv, f in runs.items()} for _ in range(rounds + 1)][1:]
    rows: list[dict[str, object]] = []
    for kv, case in cases.items():
        seconds = float(np.median([r[kv] for r in each]))
        ratio = float(np.median([r["f16"] / r[kv] for r in each]))
        rows.append({
            "model": name, "where": where, "kv": kv, "context": case.context, "us": seconds * 1e6,
            "bytes": case.bytes, "gb_s": case.bytes / seconds / 1e9, "ratio": ratio,
        })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, choices=(1, 2))
    parser.add_argument("--cpu", action="store_true", help="one thread, its CPU time")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--only", default="", help="models or places whose name contains this")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    who = "1 thread, CPU time" if args.cpu else f"{args.threads} threads"
    print(f"attention of one row, {variants()[0].name}, {who}; load {os.getloadavg()[0]:.1f}")
    rows: list[dict[str, object]] = []
    for name in MODELS:
        for where in ("DRAM", "L2"):
            if args.only not in f"{name} {where}":
                continue
            for row in measure(name, where, args.context, args.rounds, args.threads, args.cpu):
                rows.append(row)
                figures = f"{row['us']:8.1f} us  {row['bytes'] / 1e6:6.2f} MB {row['gb_s']:6.1f} GB/s"
                print(f"{name:14s} {where:4s} {row['context']:5d} {row['kv']:4s} {figures}  {row['ratio']:5.2f}x f16")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
