"""Attention over whole sequences whose scores are of signs: queries and keys are a bit a channel and a scale a head.

As `attend`, but q stands for `sign(q) * mean |q|` and k for `sign(k) * mean |k|`, the means over a head's channels, the
sign of 0 is +1. Softmax and values stay float. `pack_keys` runs before.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.kernels import attend
from edgeq.kernels.attend_shape import Buffers
from edgeq.kernels.attend_signs_tile import SignsBlock, SignsShape
from edgeq.kernels.attend_tile import over_blocks
from edgeq.kernels.binary_pack import WORD_BITS, pack_signs, words
from edgeq.kernels.kernel import Kernel, Param, factory
from edgeq.kernels.naming import symbol
from edgeq.kernels.vector import Expr, Memory, Reg, absolute, bits, f32, function, i32, let, loop, select
from edgeq.targets.isa import Isa

_TYPES = {"q": "float32", "k": "int32", "v": "float32", "pad": "int32"}
_TYPES |= dict.fromkeys(("bias", "row_bias", "column_bias", "scratch", "o"), "float32")
_ACCESS = {"scratch": "scratch", "o": "out"}


@factory
def attend_signs(
    B: int, S: int, L: int, H: int, HK: int, D: int, Dv: int, ldq: int, ldv: int, scale: float,
    causal: bool = False, left: int = -1, right: int = -1, softcap: float = 0.0, pad: bool = False, bias: str = "",
) -> Kernel:  # fmt: skip
    """`softmax(scale * signs(q) @ signs(k).T + bias) @ v` of every head; arguments as of `attend.attend`.

    Parameters q, k, v, pad, bias, row_bias, column_bias, scratch, o. k: as `pack_keys` writes it.
    Raises UnsupportedError as `attend` does, and for heads of more than 992 channels. Units: `attend.units(kernel)`.
    """
    shape = SignsShape(B, S, L, H, HK, D, Dv, ldq, D, ldv, scale, causal, left, right, softcap, pad, bias)
    sizes = symbol("attend", "signs", B, S, L, H, HK, D, Dv, ldq, ldv, float(scale))
    flags = symbol(int(causal), left, right, float(softcap), int(pad), bias.replace(",", "x") or "n")
    name = f"{sizes}_{flags}"

    def build(isa: Isa) -> Any:
        def body(lo: Expr, hi: Expr, *memories: Memory) -> None:
            over_blocks(SignsBlock, shape, isa, Buffers(*memories), lo, hi)

        return function(name, isa, [], _TYPES, body)

    params = tuple(Param(p, _ACCESS.get(p, "in")) for p in _TYPES)
    return Kernel(name, params, build, "block of queries", 0, L * H * (D + Dv))


@factory
def pack_keys(B: int, L: int, HK: int, D: int, ldk: int) -> Kernel:
    """k f32[B*L][ldk] (head h at h*D) -> `o: u32[B][HK][L][words + 1]`, a head's signs and, as float bits, mean |k|.

    Unit: row of k. Bit b of word w is channel 32 * w + b; bits past D are 0.
    """
    name, n = symbol("pack_keys", B, L, HK, D, ldk), words(D) + 1

    def build(isa: Isa) -> Any:
        def body(lo: Expr, hi: Expr, k: Memory, o: Memory) -> None:
            with loop(lo, hi) as row, loop(0, HK) as head:
                example = let(row // i32(L))
                to = let(((example * HK + head) * L + (row - example * L)) * n)
                _pack(k, let(row * ldk + head * D), D, o, to)

        return function(name, isa, [], {"k": "float32", "o": "int32"}, body)

    return Kernel(name, (Param("k", "in"), Param("o", "out")), build, "row")


def _pack(k: Memory, first: Expr, D: int, o: Memory, to: Expr) -> None:
    """A head of one key, channel by channel: there are few, and a head starts anywhere."""
    total = Reg("float32", f32(0.0), lanes=1)
    for start in range(0, D, WORD_BITS):
        word = Reg("int32", i32(0), lanes=1)
        with loop(start, min(start + WORD_BITS, D)) as c:
            x = let(k[first + c])
            total.set(total.v + absolute(x))
            word.set(word.v | select(x >= f32(0.0), i32(1) << (c - start), i32(0)))
        o.store(to + start // WORD_BITS, word.v)
    o.store(to + words(D), bits("int32", total.v * f32(1 / D)))


def key_bytes(HK: int, D: int) -> int:
    """Bytes of one position's packed keys."""
    return HK * (words(D) + 1) * 4


def scratch_bytes(kernel: Kernel) -> int:
    """Private memory that a thread needs for a kernel made by `attend_signs`."""
    return SignsShape(**kernel.options, ldk=kernel.options["D"]).layout["end"] * 4


def reference(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float, **masks: Any) -> np.ndarray:
    """As `attend.reference` (q [B,S,H,D], ..., -> [B,S,H,Dv]), of the same signs, in float64."""
    return attend.reference(signs(q), signs(k), v, scale, **masks)


def signs(x: np.ndarray) -> np.ndarray:
    """[..., D] -> sign(x) * mean |x| over the last axis, in float64."""
    x = np.asarray(x, np.float64)
    return np.where(x >= 0, 1.0, -1.0) * np.abs(x).mean(-1, keepdims=True)


def packed_keys(k: np.ndarray) -> np.ndarray:
    """k f32[B,L,HK,D] -> u32[B,HK,L,words + 1] as `pack_keys` writes it, means in float32."""
    B, L, HK, D = k.shape
    flat = np.ascontiguousarray(k.transpose(0, 2, 1, 3)).reshape(-1, D)
    means = np.abs(flat.astype(np.float64)).mean(-1).astype(np.float32).view(np.uint32)
    return np.concatenate([pack_signs(flat), means[:, None]], 1).reshape(B, HK, L, -1)
