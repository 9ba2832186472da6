"""Values of attention as int8, a scale for each channel of a head over all keys of an example.

Per channel, because a scale a key (token) would have to be multiplied into the probabilities, and sums would be no
integers any more. Pads count like other keys. Four keys of a channel lie together, as integer dot products read them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.kernels.kernel import Kernel, Param, factory
from edgeq.kernels.naming import padded, symbol
from edgeq.kernels.vector import (
    LANES,
    Expr,
    Memory,
    Reg,
    absolute,
    cast,
    f32,
    fence,
    function,
    i32,
    let,
    loop,
    maximum,
    rint,
    splat,
)
from edgeq.targets.isa import Isa

FLOOR = 1e-20  # of a channel's largest magnitude


@factory
def values(B: int, L: int, HK: int, Dv: int, ldv: int) -> Kernel:
    """Quantize v: f32[B*L][ldv] (head h at h*Dv); parameters v, vq, vs.

    vq: i32[B*HK][ceil(L/4)][padded(Dv)], byte j of an element is key 4i+j, keys from L on are 0;
    vs: f32[B*HK][padded(Dv)], the largest magnitude / 127. Pad lanes stay as they are. Unit: `example * HK + head`.
    """
    name = symbol("attend_values", B, L, HK, Dv, ldv)
    quads, width = -(-L // 4), padded(Dv)

    def build(isa: Isa) -> Any:
        def body(lo: Expr, hi: Expr, v: Memory, vq: Memory, vs: Memory) -> None:
            with loop(lo, hi) as unit:
                example = let(unit // HK)
                first = let(example * (L * ldv) + (unit - example * HK) * Dv)
                for begin, end, lanes in ((0, Dv // LANES, LANES), (Dv // LANES * LANES, Dv, 1)):
                    if begin < end:
                        with loop(begin, end) as c:
                            at = let(c * lanes)
                            _channels(v, vq, vs, L, ldv, let(first + at), let(unit * (quads * width) + at),
                                      let(unit * width + at), width, lanes)  # fmt: skip

        return function(name, isa, [], {"v": "float32", "vq": "int32", "vs": "float32"}, body)

    params = (Param("v", "in"), Param("vq", "out"), Param("vs", "out"))
    return Kernel(name, params, build, "head of an example", 0, L * HK * Dv)


def _channels(
    v: Memory, vq: Memory, vs: Memory, L: int, ldv: int, source: Expr, to: Expr, scale: Expr, width: int, lanes: int
) -> None:
    """`lanes` channels of a head: their scale, then their codes, four keys at a time."""
    absmax = Reg("float32", _all(FLOOR, lanes), lanes)
    with loop(0, L) as key:
        absmax.set(maximum(let(absolute(_load(v, source + key * ldv, lanes))), absmax.v))
    inverse = let(_all(127.0, lanes) / absmax.v)
    vs.store(scale, absmax.v / _all(127.0, lanes))

    def codes(first: Expr, count: int) -> Expr:
        parts = [cast("int32", rint(let(_load(v, source + (first + j) * ldv, lanes) * inverse))) for j in range(count)]
        packed = let(parts[0] & _whole(255, lanes))
        for j, part in enumerate(parts[1:], 1):
            packed = let(packed | ((part & _whole(255, lanes)) << _whole(8 * j, lanes)))
        return packed

    with loop(0, L // 4) as i:
        vq.store(let(to + i * width), codes(let(i * 4), 4))
    if L % 4:
        vq.store(to + L // 4 * width, codes(L // 4 * 4, L % 4))


def _load(v: Memory, at: Expr, lanes: int) -> Expr:
    return fence(v.vector(at, lanes) if lanes > 1 else v[at])


def _all(x: float, lanes: int) -> Expr:
    return splat(x, lanes) if lanes > 1 else f32(x)


def _whole(x: int, lanes: int) -> Expr:
    return splat(x, lanes) if lanes > 1 else i32(x)


def reference(v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """v f32 [B,L,HK,Dv] -> codes int8 of the same shape, scales f32 [B,HK,Dv]; the kernel's arithmetic."""
    absmax = np.maximum(np.abs(v).max(1), np.float32(FLOOR))
    codes = np.rint(v * (np.float32(127) / absmax)[:, None])
    return codes.astype(np.int8), absmax / np.float32(127)
