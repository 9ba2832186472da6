"""Attention over the key/value caches: of one new row (`decode`) and of the rows of a prefill chunk (`chunk`).

Both are `attention_tile.attend` over different rows: decode takes the query heads of one key/value head together (they
share every key and value that is loaded), a chunk takes neighbouring rows of one head. A unit stays a query head in
decode, so that 9 heads can be split 5 + 4; heads of one group that fall to different threads only cost more loads.

Versions, f16 cache, one thread of a Zen 5 core (peak 252 GFLOP/s), Llama-3.2-1B's shape (H=32, HK=8, D=64):

| version | chunk of 256 rows at 256 | decode at 512 |
|---|---|---|
| one query head at a time, four chains over channels (the probe) | - | 53 us, 80 GFLOP/s |
| tiles of rows x blocks in registers, one chain an accumulator | 132 GFLOP/s | 23.0 us, 182 GFLOP/s |
| lower clamp of exp2 is an exact zero: masks only at window edges; peaks of all rows at once | 188 | 21.3 us, 196 |
| without LLVM's machine LICM, which holds exp2's constants in registers | 195 | 20.9 us, 201 |

Tried without gain: rows of 4 (180), 3 blocks a tile (189), queries copied to a compact tile (182). AVX2: 84 of 126.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeq.kernels.attention_tile import BIAS_MARGIN, MAX_ROWS, Buffers, Rows, Shape, attend, max_rows
from edgeq.kernels.kernel import Kernel, Param, factory
from edgeq.kernels.kv_blocks import BLOCK
from edgeq.kernels.naming import symbol
from edgeq.kernels.transcendental import LOG2E
from edgeq.kernels.vector import Expr, Memory, Reg, function, i32, let, loop, maximum, minimum, select
from edgeq.targets.isa import Isa

_ACCESS = {
    "qkv": "in", "kc": "in", "vc": "in", "ks": "in", "vs": "in", "bias": "weight", "scratch": "scratch", "o": "out",
}  # fmt: skip


@factory
def decode(
    H: int, HK: int, D: int, Dv: int, ld: int, kv: str, context: int, left: int = -1, softcap: float = 0.0,
    bias: bool = False, ring: int = 0,
) -> Kernel:  # fmt: skip
    """Query heads `lo..hi` of the row at `pos` -> o: f32[H*Dv]; parameters pos, qkv, kc, vc, ks, vs, scratch, o.

    Query head h is at `qkv + h*D`, already rotated and scaled to base-2 scores. It sees positions `pos-left..pos` (all
    when left is -1). `softcap` c: scores become c*tanh(score/c) in natural units. Scratch: `scratch_bytes(context)`.
    `bias`: one more pointer before scratch, f32[H][context + 32]: entry i is added, in natural units, to the scores of
    keys `context - 1 - i` positions back (`distance_table` makes it of biases by distance).
    `ring`: of caches by blocks (`kv_cache.KvCache`). Raises UnsupportedError for shapes that the caches cannot hold.
    """
    shape = Shape(H, HK, D, Dv, ld, kv, context, left, float(softcap), bias, ring)

    def emit(isa: Isa, lo: Expr, hi: Expr, pos: Expr, *memories: Memory) -> None:
        at, R = _buffers(shape, memories), shape.group
        with loop(lo // R, (hi + (R - 1)) // R) as g:
            head, end = Reg("int32", maximum(lo, g * R), lanes=1), let(minimum(hi, (g + 1) * R))
            for size in _tile_sizes(min(R, max_rows(isa))):
                with loop(0, let((end - head.v) // size)):
                    h = let(head.v)
                    biases = let(h * shape.bias_span), shape.bias_span
                    attend(shape, isa, at, Rows(size, let(h * D), D, let(h * Dv), Dv, g, pos, 0, pos, *biases))
                    head.set(h + size)

    return _kernel("attention_decode", shape, ("pos",), "query head", emit)


@factory
def chunk(
    H: int, HK: int, D: int, Dv: int, ld: int, kv: str, context: int, left: int = -1, softcap: float = 0.0,
    bias: bool = False, ring: int = 0,
) -> Kernel:  # fmt: skip
    """Rows of a chunk, causal -> o: f32[m][H*Dv]; parameters m, pos, qkv, kc, vc, ks, vs, scratch, o.

    Unit: `head * ceil(m / 16) + block of 16 rows`. Row i is at position pos + i and sees `pos+i-left..pos+i`; keys and
    values of the whole chunk are already in the caches. Rows m.. of the last block get arbitrary values. Otherwise as
    `decode`, whose results it equals bit for bit.
    """
    shape = Shape(H, HK, D, Dv, ld, kv, context, left, float(softcap), bias, ring)

    def emit(isa: Isa, lo: Expr, hi: Expr, m: Expr, pos: Expr, *memories: Memory) -> None:
        at, size, blocks = _buffers(shape, memories), max_rows(isa), let((m + 15) >> 4)
        with loop(lo, hi) as unit:
            head = let(unit // blocks)
            row = let((unit - head * blocks) * 16)
            group, biases = let(head // shape.group), let(head * shape.bias_span)
            last = let(pos + m - 1)

            def tile(i: Expr, size: int) -> None:
                q, o = let(i * ld + head * D), let((i * H + head) * Dv)
                attend(shape, isa, at, Rows(size, q, ld, o, H * Dv, group, let(pos + i), 1, last, biases))

            if shape.cache.blocks:
                _whole_tiles(row, let(minimum(row + 16, m)), pos, size, tile)
            else:
                with loop(0, (minimum(m - row, i32(16)) + (size - 1)) // size) as t:
                    tile(let(row + t * size), size)

    return _kernel("attention_chunk", shape, ("m", "pos"), "query head x block of 16 rows", emit)


def _whole_tiles(row: Expr, end: Expr, pos: Expr, largest: int, tile: Callable[[Expr, int], None]) -> None:
    """Tiles of rows row..end-1 (16 at most) of which none has rows in two blocks of positions, nor rows past `end`."""
    cut = let(minimum(((pos + row) // BLOCK + 1) * BLOCK - pos, end))
    with loop(0, 2) as part:
        i, stop = Reg("int32", select(part == 0, row, cut), lanes=1), let(select(part == 0, cut, end))
        for size in _tile_sizes(largest):
            with loop(0, let((stop - i.v) // size)):
                tile(let(i.v), size)
                i.set(i.v + size)


def scratch_bytes(context: int) -> int:
    """Private memory that a thread needs for either kernel."""
    return MAX_ROWS * (context + 16) * 4


def distance_table(bias: np.ndarray) -> np.ndarray:
    """Biases by distance [H][context] (0: the row itself) -> f32[H][context + 32] as the kernels read them."""
    return np.pad(bias[:, ::-1], ((0, 0), (0, BIAS_MARGIN))).astype(np.float32)


def reference(
    q: np.ndarray, keys: np.ndarray, values: np.ndarray, pos: int, left: int = -1, softcap: float = 0.0,
    bias: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Rows q [m][H][D] at pos.. over keys [HK][context][D], values [HK][context][Dv] -> [m][H][Dv], all float64.

    bias: [H][context] by distance.
    """
    out = np.zeros((len(q), q.shape[1], values.shape[-1]))
    group = q.shape[1] // len(keys)
    for i, row in enumerate(np.asarray(q, np.float64)):
        seen = slice(max(0, pos + i - left) if left >= 0 else 0, pos + i + 1)
        for h, query in enumerate(row):
            s = keys[h // group, seen] @ query / LOG2E
            s = softcap * np.tanh(s / softcap) if softcap else s
            s = s if bias is None else s + bias[h, pos + i - np.arange(seen.start, seen.stop)]
            p = np.exp(s - s.max())
            out[i, h] = (p / p.sum()) @ values[h // group, seen]
    return out


def _tile_sizes(largest: int) -> list[int]:
    """Heads taken at once: the whole group where it fits, then powers of two for what is left of a split group."""
    return [largest, *(1 << k for k in range(largest.bit_length() - 1, -1, -1) if 1 << k < largest)]


def _buffers(shape: Shape, memories: tuple[Memory, ...]) -> Buffers:
    """The pointers, with or without biases."""
    qkv, kc, vc, ks, vs, *bias, scratch, o = memories
    return Buffers(qkv, kc, vc, ks, vs, bias[0] if shape.bias else None, scratch, o)


def _kernel(family: str, shape: Shape, scalars: tuple[str, ...], unit: str, emit: Callable[..., None]) -> Kernel:
    name = symbol(
        family, shape.H, shape.HK, shape.D, shape.Dv, shape.ld, shape.kv, shape.context, shape.left, shape.softcap,
        *(["bias"] if shape.bias else []), *([shape.ring] if shape.ring else []),
    )  # fmt: skip
    access = {p: a for p, a in _ACCESS.items() if shape.bias or p != "bias"}

    def build(isa: Isa) -> Any:
        types = dict.fromkeys(access, "float32") | shape.cache.pointers(written=False)
        return function(name, isa, scalars, types, lambda *args: emit(isa, *args))

    values = (Param(s, "value") for s in scalars)
    return Kernel(name, (*values, *(Param(p, a) for p, a in access.items())), build, unit)
