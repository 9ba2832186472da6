"""Rows of floats -> int8 codes, one scale a row, and what each weight group's zero point needs; a norm may come first.

`code = rint(t * (127 / absmax))`, `sa = absmax / 127` with `t` the (normalised) row. RMSNorm's factor 1/rms is positive
and the same for the whole row, so it does not change the codes: t is `x * (nw + offset)`, the factor goes into `sa`.
With a bias (`nb`) it does, and t is the whole of `x / rms * (nw + offset) + nb`.
Rows are `P = padded(K)` floats apart and become P codes; pad lanes are zeros that nothing but the codes counts.
`quantize` (decode) and `quantize_rows` (a chunk) run the same operations on a row, so they agree bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.kernels import vector as V
from edgeq.kernels.kernel import Kernel, Param, factory
from edgeq.kernels.lanes import within
from edgeq.kernels.naming import padded, symbol
from edgeq.targets.isa import Isa

ABSMAX_FLOOR = 1e-20  # a row of zeros gets codes 0 and a scale that is no division by zero
_CHAINS = 4  # accumulators of a row's sums, joined (0 + 1) + (2 + 3)
_BLOCK = 16  # rows of one unit of quantize_rows
_POINTERS = {"x": "float32", "nw": "float32", "nb": "float32", "q": "int8", "corr": "int32", "sa": "float32"}
_PARAMS = (Param("x", "in"), Param("nw", "weight"), Param("nb", "weight"))
_OUTPUTS = ("q", "corr", "sa")


@dataclass(frozen=True)
class Spec:
    """What is computed from a row: see `quantize`."""

    K: int
    group_size: int
    zero: int
    norm: str | None = None
    eps: float = 0.0
    offset: float = 0.0
    weight: bool = True
    bias: bool | None = None

    def __post_init__(self) -> None:
        if self.norm not in (None, "rms", "layer"):
            raise UnsupportedError(f"quantize: no norm {self.norm!r}; known: None, 'rms', 'layer'")
        if self.K <= 0 or self.group_size % V.LANES:
            raise UnsupportedError(f"quantize: {self.K} channels in groups of {self.group_size}; need groups of 16 n")

    @property
    def shifted(self) -> bool:
        """Whether the norm adds `nb`."""
        return self.norm == "layer" if self.bias is None else self.bias

    @property
    def scaled_late(self) -> bool:
        """Whether the norm's factor is left out of the values and goes into `sa`."""
        return self.norm == "rms" and not self.shifted

    @property
    def width(self) -> int:
        """P: floats from row to row, and codes of a row."""
        return padded(self.K)

    @property
    def groups(self) -> list[tuple[int, int]]:
        """[start, end) of each group; the last may be shorter."""
        size = self.group_size or self.width
        return [(k, min(k + size, self.width)) for k in range(0, self.width, size)]

    def name(self, family: str) -> str:
        """C symbol without the ISA."""
        if not self.norm:
            return symbol(family, self.K, f"g{self.group_size}", f"z{self.zero}")
        usual = self.shifted == (self.norm == "layer")
        marks = ["no_weight"] * (not self.weight) + [("bias" if self.shifted else "no_bias")] * (not usual)
        norm: tuple[str | float, ...] = (self.norm, float(self.eps), float(self.offset), *marks)
        return symbol(family, self.K, f"g{self.group_size}", f"z{self.zero}", *norm)


@factory
def quantize(
    K: int, group_size: int, zero: int, norm: str | None = None, eps: float = 0.0, offset: float = 0.0,
    weight: bool = True, bias: bool | None = None,
) -> Kernel:  # fmt: skip
    """One row; call with (0, 1).

    Args:
        K: channels; P = padded(K) floats and codes a row.
        group_size: the weight's group size, 0 = one group.
        zero: zero point of a symmetric weight (8 or 128), 1 for an asymmetric one.
        norm: None, "rms" or "layer", with `eps`; RMSNorm multiplies by `nw + offset`.
        weight, bias: false leaves `nw`, `nb` of the norm out (bias defaults to true for "layer").

    C parameters: x f32[P], nw f32[K], nb f32[K], q i8[P], corr i32[KG] = -zero * sum of the group's codes, sa f32[1].
    Raises UnsupportedError for other norms and widths.
    """
    spec = Spec(K, group_size, zero, norm, eps, offset, weight, bias)

    def build(isa: Isa) -> Any:
        def body(lo: V.Expr, hi: V.Expr, *memories: V.Memory) -> None:
            x, nw, nb, q, corr, sa = memories
            row = _Row(spec, x, V.i32(0), nw, nb)
            sa.store(V.i32(0), row.scale)
            row.emit_codes(lambda k, codes: q.store(k, V.cast("int8", codes)), lambda g, c: corr.store(g, c))

        return V.function(spec.name("quantize"), isa, (), _POINTERS, body)

    return Kernel(spec.name("quantize"), (*_PARAMS, *(Param(p, "out") for p in _OUTPUTS)), build, "all", 0, 0)


@factory
def quantize_rows(
    K: int, group_size: int, zero: int, norm: str | None = None, eps: float = 0.0, offset: float = 0.0,
    weight: bool = True, bias: bool | None = None,
) -> Kernel:  # fmt: skip
    """`quantize` for the m rows of a chunk, in the GEMM's layout; unit: block of 16 rows, rows >= m become zero.

    C parameters: m, x f32[m, K], nw, nb, q i8[M/R][K/4/Q][R][Q][4], corr i32[M/R][KG][R], sa f32[M], R = isa.gemm_rows,
    Q = isa.panel_quads.
    """
    spec = Spec(K, group_size, zero, norm, eps, offset, weight, bias)

    def build(isa: Isa) -> Any:
        def body(lo: V.Expr, hi: V.Expr, m: V.Expr, *memories: V.Memory) -> None:
            with V.loop(lo * V.i32(_BLOCK), hi * V.i32(_BLOCK)) as i:
                out = _Panel(spec, isa, i, memories)
                V.branch(i < m, out.fill, out.clear)

        return V.function(spec.name("quantize_rows"), isa, ("m",), _POINTERS, body)

    params = (Param("m", "value"), *_PARAMS, *(Param(p, "out") for p in _OUTPUTS))
    return Kernel(spec.name("quantize_rows"), params, build, "16 rows", 0, 0)


class _Panel:
    """Row i of a chunk in the interleaved layout."""

    def __init__(self, spec: Spec, isa: Isa, i: V.Expr, memories: tuple[V.Memory, ...]):
        rows, together = isa.gemm_rows, isa.panel_quads
        self.spec, self.rows, self.together, self.i, self.memories = spec, rows, together, i, memories
        block, lane = V.let(i // V.i32(rows)), V.let(i % V.i32(rows))
        self.quad = V.let(block * V.i32(spec.width // 4 * rows) + lane * V.i32(together))
        self.corr = V.let(block * V.i32(len(spec.groups) * rows) + lane)

    def fill(self) -> None:
        x, nw, nb, _, _, sa = self.memories
        row = _Row(self.spec, x, V.let(self.i * V.i32(self.spec.width)), nw, nb)
        sa.store(self.i, row.scale)
        row.emit_codes(lambda k, c: self._store_quads(k, V.bits("int32x4", V.cast("int8", c))), self._store_corr)

    def clear(self) -> None:
        self.memories[5].store(self.i, V.f32(0))
        with V.loop(V.i32(0), V.i32(self.spec.width // V.LANES)) as k:
            self._store_quads(k * V.i32(V.LANES), V.bits("int32x4", V.splat(0, 4)))
        with V.loop(V.i32(0), V.i32(len(self.spec.groups))) as g:
            self._store_corr(g, V.i32(0))

    def _store_quads(self, k: V.Expr, quads: V.Expr) -> None:
        quads, out = V.let(quads), self.memories[3].as_type("int32")
        for j in range(0, 4, self.together):
            at = self.quad + (k // V.i32(4) + V.i32(j)) * V.i32(self.rows)
            out.store(at, V.part(quads, j, self.together))

    def _store_corr(self, g: V.Expr, correction: V.Expr) -> None:
        self.memories[4].store(self.corr + g * V.i32(self.rows), correction)


class _Row:
    """Emits the statistics of a row when made; then its `scale`, and its codes with `emit_codes`."""

    def __init__(self, spec: Spec, x: V.Memory, start: V.Expr, nw: V.Memory, nb: V.Memory):
        self.spec, self.x, self.start, self.nw, self.nb = spec, x, start, nw, nb
        if spec.norm == "layer":
            self.mean = V.let(self._sum(lambda k, total: total + self._load(k)) * V.f32(1 / spec.K))
            centred = lambda k: V.let(within(k, self._load(k) - V.splat(self.mean), spec.K))  # noqa: E731
            self.factor = self._inverse_root(self._sum_squares(centred))
        elif spec.norm == "rms":
            self.factor = self._inverse_root(self._sum_squares(lambda k: V.let(self._load(k))))
        larger = lambda k, top: V.maximum(V.let(V.absolute(self._value(k))), top)  # noqa: E731
        absmax = V.let(self._reduce(ABSMAX_FLOOR, larger, V.max16))
        self.inverse = V.let(V.f32(127.0) / absmax)
        peak = V.let(absmax * self.factor) if spec.scaled_late else absmax
        self.scale = V.let(peak * V.f32(1 / 127))

    def emit_codes(self, store: Callable[[V.Expr, V.Expr], None], store_corr: Callable[[V.Expr, V.Expr], None]) -> None:
        """store(k, int32x16 codes) for every 16 channels, store_corr(g, int32) for every group."""
        size, groups = self.spec.group_size or self.spec.width, self.spec.groups
        whole = self.spec.width // size
        with V.loop(V.i32(0), V.i32(whole)) as g:
            self._emit_group(g, V.let(g * V.i32(size)), size, store, store_corr)
        for g in range(whole, len(groups)):
            self._emit_group(V.i32(g), V.i32(g * size), groups[g][1] - groups[g][0], store, store_corr)

    def _emit_group(self, g: V.Expr, start: V.Expr, length: int, store: Any, store_corr: Any) -> None:
        total = V.Reg("int32", V.splat(0))
        with V.loop(V.i32(0), V.i32(length // V.LANES)) as j:
            k = V.let(start + j * V.i32(V.LANES))
            codes = V.let(V.cast("int32", V.rint(self._value(k) * V.splat(self.inverse))))
            total.set(total.v + codes)
            store(k, codes)
        store_corr(g, V.let(V.sum16(total.v) * V.i32(-self.spec.zero)))

    def _load(self, k: V.Expr) -> V.Expr:
        return self.x.vector(self.start + k)

    def _value(self, k: V.Expr) -> V.Expr:
        """t: the 16 values at k that are quantized (without the norm's factor where `scaled_late`)."""
        spec, t = self.spec, self._load(k)
        if spec.norm is None:
            return t
        if not spec.scaled_late:
            t = V.fence((t if spec.norm == "rms" else t - V.splat(self.mean)) * V.splat(self.factor))
        if spec.weight and spec.shifted:
            t = V.fma(t, self._gain(k), self.nb.vector(k))
        elif spec.weight or spec.shifted:
            t = V.fence(t * self._gain(k)) if spec.weight else t + self.nb.vector(k)
        return within(k, t, spec.K)

    def _gain(self, k: V.Expr) -> V.Expr:
        weight, offset = self.nw.vector(k), self.spec.offset
        return weight if offset == 0 else weight + V.splat(offset)

    def _sum_squares(self, value: Callable[[V.Expr], V.Expr]) -> V.Expr:
        def step(k: V.Expr, total: V.Expr) -> V.Expr:
            v = value(k)
            return V.fma(v, v, total)

        return self._sum(step)

    def _inverse_root(self, squares: V.Expr) -> V.Expr:
        """1 / sqrt(squares / K + eps)."""
        return V.let(V.f32(1.0) / V.sqrt(V.fma(squares, V.f32(1 / self.spec.K), V.f32(self.spec.eps))))

    def _sum(self, step: Callable[[V.Expr, V.Expr], V.Expr]) -> V.Expr:
        return V.let(self._reduce(0.0, step, V.sum16, lambda a, b: a + b))

    def _reduce(
        self, init: float, step: Callable[[V.Expr, V.Expr], V.Expr], finish: Callable[[V.Expr], V.Expr],
        join: Callable[[V.Expr, V.Expr], V.Expr] = V.maximum,
    ) -> V.Expr:
        """Fold `step(k, accumulator)` over the row in `_CHAINS` accumulators of 16 lanes."""
        chains = [V.Reg("float32", V.splat(init)) for _ in range(_CHAINS)]
        count = self.spec.width // V.LANES
        with V.loop(V.i32(0), V.i32(count // _CHAINS)) as i:
            for c, reg in enumerate(chains):
                reg.set(step(V.let(i * V.i32(_CHAINS * V.LANES) + V.i32(c * V.LANES)), reg.v))
        for c in range(count % _CHAINS):
            chains[c].set(step(V.i32((count - count % _CHAINS + c) * V.LANES), chains[c].v))
        halves = [V.let(join(chains[0].v, chains[1].v)), V.let(join(chains[2].v, chains[3].v))]
        return finish(join(*halves))


def reference(
    x: np.ndarray, norm: str | None = None, eps: float = 0.0, offset: float = 0.0,
    nw: np.ndarray | None = None, nb: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """f32[M, K] -> (codes before rounding f64[M, K], scale f64[M], the normalised rows f64[M, K])."""
    t = np.asarray(x, np.float64)
    if norm == "layer":
        t = t - t.mean(-1, keepdims=True)
    if norm:
        t = t / np.sqrt((t * t).mean(-1, keepdims=True) + eps)
        t = t if nw is None else t * (nw + np.float64(offset))
        t = t if nb is None else t + nb
    absmax = np.maximum(np.abs(t).max(-1), ABSMAX_FLOOR)
    return t * (127 / absmax)[:, None], absmax / 127, t


def corrections(q: np.ndarray, group_size: int, zero: int) -> np.ndarray:
    """int8[M, K] -> int32[M, KG]: `-zero * sum of the group's codes`."""
    size = group_size or q.shape[1]
    sums = [q[:, k : k + size].astype(np.int32).sum(1) for k in range(0, q.shape[1], size)]
    return (-zero * np.stack(sums, 1)).astype(np.int32)
