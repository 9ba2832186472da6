"""RMS and layer normalisation of rows, each row cut into `heads` equal slices that are normalised on their own.

Sums run over four accumulators of 16 lanes (vector i goes to accumulator i mod 4), joined pairwise, then over the lanes
by `sum16`. Layer norm takes two passes: the mean, then the squares of what is left: a large mean cancels nothing.
Pad lanes of the last vector are neither counted nor changed; slices that are not whole vectors go through the stack.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.kernels.kernel import Kernel, Param, factory
from edgeq.kernels.lanes import within
from edgeq.kernels.naming import padded, symbol
from edgeq.kernels.vector import (
    LANES,
    Expr,
    Memory,
    Reg,
    Stack,
    f32,
    fence,
    fma,
    function,
    i32,
    let,
    loop,
    splat,
    sqrt,
    sum16,
)
from edgeq.targets.isa import Isa

_CHAINS = 4
Load = Callable[[Expr], Expr]  # 16 elements from element i of a slice on


@factory
def norm(
    width: int, kind: str, eps: float, offset: float = 0.0, heads: int = 1, weight: bool = True,
    bias: bool | None = None,
) -> Kernel:  # fmt: skip
    """Rows `lo..hi` of x: f32[m][padded(width)] -> o, of the same shape; parameters m, x, w, b, o.

    `rms`: `x / sqrt(mean(x**2) + eps) * (w + offset)`; `layer`: `(x - mean) / sqrt(var + eps) * (w + offset) + b`.
    w, b: f32[width / heads]; `weight`, `bias` false: never read (bias defaults to true for `layer`). `o` may be `x`.
    Raises UnsupportedError for another kind or slices that are not equal.
    """
    if kind not in ("rms", "layer"):
        raise UnsupportedError(f"no kernel for norm {kind!r}; known: rms, layer")
    size, has_bias = width // heads, kind == "layer" if bias is None else bias
    flags = "".join(c for c, on in (("w", weight), ("b", has_bias)) if on)
    name = symbol("norm", kind, width, heads, float(eps), float(offset), flags or "plain")
    if size * heads != width or not size:
        raise UnsupportedError(f"norm: {width} channels do not divide into {heads} slices")

    one_slice = partial(_normalise, size, kind, float(eps), float(offset), weight, has_bias)

    def body(lo: Expr, hi: Expr, m: Expr, x: Memory, w: Memory, b: Memory, o: Memory) -> None:
        if heads == 1 or size % LANES == 0:
            stride = padded(size)
            with loop(lo * heads, hi * heads) as i:
                at = let(i * stride)
                one_slice(lambda k: x.vector(at + k), w, b, lambda k, y: o.store(at + k, y))
            return
        one, stride = Stack(padded(size), "float32"), padded(width)
        with loop(0, padded(size)) as k:
            one.store(k, f32(0.0))
        with loop(lo, hi) as i:
            with loop(0, heads) as h:
                at = let(i * stride + h * size)
                with loop(0, size) as k:
                    one.store(k, x[at + k])
                one_slice(one.vector, w, b, one.store)
                with loop(0, size) as k:
                    o.store(at + k, one[k])
            with loop(width, stride) as k:
                o.store(i * stride + k, f32(0.0))

    def build(isa: Isa) -> Any:
        return function(name, isa, ["m"], dict.fromkeys(("x", "w", "b", "o"), "float32"), body)

    params = (Param("m", "value"), *(Param(p, "in") for p in "x"), Param("w", "weight"), Param("b", "weight"))
    return Kernel(name, (*params, Param("o", "out")), build, "row")


def _normalise(
    size: int, kind: str, eps: float, offset: float, weight: bool, bias: bool,
    load: Load, w: Memory, b: Memory, store: Callable[[Expr, Expr], None],
) -> None:  # fmt: skip
    """One slice of `size` elements, normalised, from `load` to `store`; `weight`, `bias`: whether they are read."""
    shift, factor = _statistics(load, size, kind, eps)
    with loop(0, padded(size) // LANES) as i:
        at = let(i * LANES)
        y = load(at) if shift is None else load(at) - splat(shift)
        y = fence(y * splat(factor))
        gain = (w.vector(at) + splat(offset)) if weight and offset else w.vector(at)
        if weight and bias:
            y = fma(y, gain, b.vector(at))
        elif weight or bias:
            y = y * gain if weight else y + b.vector(at)
        store(at, within(at, y, size))


def inverse_rms(load: Callable[[Expr], Expr], at: Expr, size: int, eps: float) -> Expr:
    """`1 / sqrt(mean(x**2) + eps)` of `load(at + i)`, i < size (a multiple of 16): the canonical order."""
    return _statistics(lambda i: load(at + i), size, "rms", eps)[1]


def reference(
    x: np.ndarray, w: np.ndarray | None, b: np.ndarray | None, kind: str, eps: float,
    offset: float = 0.0, heads: int = 1,
) -> np.ndarray:  # fmt: skip
    """The same in float64."""
    y = np.asarray(x, np.float64).reshape(len(x), heads, -1)
    if kind == "layer":
        y = y - y.mean(-1, keepdims=True)
    y = y / np.sqrt((y * y).mean(-1, keepdims=True) + eps)
    y = y if w is None else y * (np.asarray(w, np.float64) + offset)
    return (y if b is None else y + b).reshape(x.shape)


def _statistics(load: Load, size: int, kind: str, eps: float) -> tuple[Expr | None, Expr]:
    """What to subtract (None for rms) and what to multiply with; pad lanes are zeros."""
    shift = None
    if kind == "layer":
        shift = let(_sum(lambda i, s: s + load(i * LANES), size) * f32(1 / size))

    def add_square(i: Expr, s: Expr) -> Expr:
        v = load(i * LANES)
        v = let(fence(v if shift is None else within(i * LANES, v - splat(shift), size)))
        return fma(v, v, s)

    mean = fence(_sum(add_square, size) * f32(1 / size))
    return shift, let(f32(1.0) / sqrt(mean + f32(eps)))


def _sum(step: Callable[[Expr, Expr], Expr], size: int) -> Expr:
    """Sum over the vectors of a slice: `step(i, partial) -> partial`."""
    vectors = padded(size) // LANES
    sums = [Reg("float32", splat(0.0)) for _ in range(min(_CHAINS, vectors))]
    with loop(0, vectors // _CHAINS) as i:
        for c, s in enumerate(sums):
            s.set(step(i * _CHAINS + c, s.v))
    for i in range(vectors // _CHAINS * _CHAINS, vectors):
        sums[i % _CHAINS].set(step(i32(i), sums[i % _CHAINS].v))
    while len(sums) > 1:  # neighbours join: (0 + 1) + (2 + 3)
        pairs = [sums[k : k + 2] for k in range(0, len(sums), 2)]
        sums = [Reg("float32", p[0].v + p[1].v) if len(p) == 2 else p[0] for p in pairs]
    return sum16(sums[0].v)
