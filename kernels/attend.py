"""Attention over whole sequences, without a cache: encoders, vision towers, windows of an image, cross-attention.

A unit is a block of up to 32 queries of one head of one example. Queries lie in lanes, so keys and values are read
where they are, an element broadcast at a time: nothing is packed but the 32 queries, no size needs to be a multiple of
anything, and softmax, masks and biases are lane-wise (`attend_tile`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.kernels.attend_shape import Buffers, Shape
from edgeq.kernels.attend_tile import Block, over_blocks
from edgeq.kernels.kernel import Kernel, Param, factory
from edgeq.kernels.naming import symbol
from edgeq.kernels.vector import Expr, Memory, function
from edgeq.targets.isa import Isa

_ACCESS = {"scratch": "scratch", "o": "out"}
_POINTERS = ("q", "k", "v", "pad", "bias", "row_bias", "column_bias", "scratch", "o")


@factory
def attend(
    B: int, S: int, L: int, H: int, HK: int, D: int, Dv: int, ldq: int, ldk: int, ldv: int, scale: float,
    causal: bool = False, left: int = -1, right: int = -1, softcap: float = 0.0, pad: bool = False, bias: str = "",
) -> Kernel:  # fmt: skip
    """`softmax(scale * q @ k.T + bias) @ v` of every head.

    Parameters q, k, v, pad, bias, row_bias, column_bias, scratch, o.

    Args:
        B, S, L: examples, queries, keys. H, HK: query and key/value heads. D, Dv: their channels; any size.
        ldq, ldk, ldv: floats between rows of q: f32[B*S][ldq] (head h at h*D), k: f32[B*L][ldk], v: f32[B*L][ldv].
        causal, left, right: the last query stands at the last key; positions seen back, ahead besides itself, -1 all.
        softcap: scores become softcap * tanh(score / softcap); 0 = off.
        pad: `pad: i32[B][padded(L)]` is nonzero where a key is real. A query that sees no key attends evenly to all.
        bias: ""; "full:b,h" `bias: f32[b][h][S][padded(L)]`, b in (1, B), h in (1, H); "grid:KH,KW" `row_bias:
            f32[B][H][S][padded(KH)]`, `column_bias: f32[B][H][S][padded(KW)]`, key = row * KW + column, KH * KW = L.

    o: f32[B*S][padded(H*Dv)]. Unit: block of queries, `units(kernel)` in all; scratch: `scratch_bytes(kernel)` private.
    Raises UnsupportedError for heads that do not divide or another bias.
    """
    shape = Shape(B, S, L, H, HK, D, Dv, ldq, ldk, ldv, scale, causal, left, right, softcap, pad, bias)
    sizes = symbol("attend", B, S, L, H, HK, D, Dv, ldq, ldk, ldv, float(scale))
    flags = symbol(int(causal), left, right, float(softcap), int(pad), bias.replace(",", "x") or "n")
    name = f"{sizes}_{flags}"

    def build(isa: Isa) -> Any:
        types = {p: "int32" if p == "pad" else "float32" for p in _POINTERS}

        def body(lo: Expr, hi: Expr, *memories: Memory) -> None:
            over_blocks(Block, shape, isa, Buffers(*memories), lo, hi)

        return function(name, isa, [], types, body)

    params = tuple(Param(p, _ACCESS.get(p, "in")) for p in _POINTERS)
    return Kernel(name, params, build, "block of queries", 0, L * H * (D + Dv))


def units(kernel: Kernel) -> int:
    """Units of a kernel made by `attend` or `attend_codes`: `(example * H + head) * blocks + block of queries`."""
    B, H, S = (kernel.options[size] for size in "BHS")
    return B * H * -(-S // Shape.block_of(S))


def scratch_bytes(kernel: Kernel) -> int:
    """Private memory that a thread needs for a kernel made by `attend`."""
    return Shape(**kernel.options).layout["end"] * 4


def reference(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float, causal: bool = False, left: int = -1, right: int = -1,
    softcap: float = 0.0, pad: np.ndarray | None = None, bias: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """q [B,S,H,D], k [B,L,HK,D], v [B,L,HK,Dv], pad [B,L], bias broadcast to [B,H,S,L] -> [B,S,H,Dv], in float64."""
    q, k, v = (np.asarray(x, np.float64).transpose(0, 2, 1, 3) for x in (q, k, v))
    k, v = (np.repeat(x, q.shape[1] // x.shape[1], 1) for x in (k, v))
    s = q @ k.swapaxes(-1, -2) * scale
    s = softcap * np.tanh(s / softcap) if softcap else s
    s = s if bias is None else s + bias
    ahead = np.arange(s.shape[-1]) - (np.arange(s.shape[-2])[:, None] + s.shape[-1] - s.shape[-2])
    seen = (ahead <= 0 if causal else True) & (ahead >= -left if left >= 0 else True)
    seen = np.broadcast_to(seen & (ahead <= right if right >= 0 else True), s.shape)
    seen = seen if pad is None else seen & (np.asarray(pad) != 0)[:, None, None]
    s = np.where(seen, s, -1e300)
    p = np.exp(s - s.max(-1, keepdims=True))
    return (p / p.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3)
