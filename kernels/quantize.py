"""Rows of floats -> int8 codes, one scale a row, and what each weight group's zero point needs; a norm may come first.

`code = rint(t * (127 / absmax))`, `sa = absmax / 127` with `t` the (normalised) row. RMSNorm's factor 1/rms is positive
and the same for the whole row, so it does not change the codes: t is `x * (nw + offset)`, the factor goes into `sa`.
With a bias (`nb`) it does, and t is the whole of `x / rms * (nw + offset) + nb`.
Rows are `P = padded(K)` floats apart and become P codes; pad lanes are zeros that nothing but the codes counts.
With `static` the scale is a weight: `code = rint(clamp(t * (1 / xs), -127, 127))`, `sa = xs`, and no largest magnitude
is looked for.
`quantize` (decode) and `quantize_rows` (a chunk) run the same operations on a row, so they agree bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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
UNSIGNED = -0x7F7F7F80  # 128 in every byte


class _Memories(NamedTuple):
    """The C parameters behind (lo, hi, m); `xs` is there when the scale is static."""

    x: V.Memory
    nw: V.Memory
    nb: V.Memory
    q: V.Memory
    corr: V.Memory
    sa: V.Memory
    xs: V.Memory | None = None


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
    static: bool = False
    quads: int = 0  # of a row that lie together in a chunk's layout; 0: as many as `isa.panel_quads`

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
    def params(self) -> tuple[Param, ...]:
        """Pointers in the order of the C function."""
        weights = ("nw", "nb", "xs") if self.static else ("nw", "nb")
        given = (Param(name, "weight") for name in weights)
        return (Param("x", "in"), *given, *(Param(name, "out") for name in ("q", "corr", "sa")))

    @property
    def pointers(self) -> dict[str, str]:
        """Pointer -> element type, in that order."""
        return {param.name: {"q": "int8", "corr": "int32"}.get(param.name, "float32") for param in self.params}

    def memories(self, given: Sequence[V.Memory]) -> _Memories:
        """The pointers by name."""
        return _Memories(**dict(zip(self.pointers, given, strict=True)))

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
        family = f"{family}_static" if self.static else family
        family = f"{family}_p{self.quads}" if self.quads else family
        if not self.norm:
            return symbol(family, self.K, f"g{self.group_size}", f"z{self.zero}")
        usual = self.shifted == (self.norm == "layer")
        marks = ["no_weight"] * (not self.weight) + [("bias" if self.shifted else "no_bias")] * (not usual)
        norm: tuple[str | float, ...] = (self.norm, float(self.eps), float(self.offset), *marks)
        return symbol(family, self.K, f"g{self.group_size}", f"z{self.zero}", *norm)


@factory
def quantize(
    K: int, group_size: int, zero: int, norm: str | None = None, eps: float = 0.0, offset: float = 0.0,
    weight: bool = True, bias: bool | None = None, static: bool = False,
) -> Kernel:  # fmt: skip
    """One row; call with (0, 1).

    Args:
        K: channels; P = padded(K) floats and codes a row.
        group_size: the weight's group size, 0 = one group.
        zero: zero point of a symmetric weight (8 or 128), 1 for an asymmetric one.
        norm: None, "rms" or "layer", with `eps`; RMSNorm multiplies by `nw + offset`.
        weight, bias: false leaves `nw`, `nb` of the norm out (bias defaults to true for "layer").
        static: the scale is a weight `xs`, values beyond 127 of it are clamped; otherwise it is found in the row.

    C parameters: x f32[P], nw f32[K], nb f32[K], [xs f32[1],] q i8[P], corr i32[KG] = -zero * sum of the group's codes,
    sa f32[1].
    Raises UnsupportedError for other norms and widths.
    """
    spec = Spec(K, group_size, zero, norm, eps, offset, weight, bias, static)

    def build(isa: Isa) -> Any:
        def body(lo: V.Expr, hi: V.Expr, *given: V.Memory) -> None:
            a = spec.memories(given)
            row = _Row(spec, a, V.i32(0))
            a.sa.store(V.i32(0), row.scale)
            row.emit_codes(lambda k, codes: a.q.store(k, V.cast("int8", codes)), lambda g, c: a.corr.store(g, c))

        return V.function(spec.name("quantize"), isa, (), spec.pointers, body)

    return Kernel(spec.name("quantize"), spec.params, build, "all", 0, 0)


@factory
def quantize_rows(
    K: int, group_size: int, zero: int, norm: str | None = None, eps: float = 0.0, offset: float = 0.0,
    weight: bool = True, bias: bool | None = None, static: bool = False, quads: int = 0,
) -> Kernel:  # fmt: skip
    """`quantize` for the m rows of a chunk, in the GEMM's layout; unit: block of 16 rows, rows >= m become zero.

    quads: of a row that lie together, Q below: 1, 2 or 4; 0: `isa.panel_quads`. With it codes are stored + 128 where
        a dot product takes unsigned by signed (`vnni512`): for kernels whose weights are the signed ones.

    C parameters: m, x f32[m, K], nw, nb, [xs,] q i8[M/R][K/4/Q][R][Q][4], corr i32[M/R][KG][R], sa f32[M] with
    R = isa.gemm_rows, Q = isa.panel_quads.
    """
    spec = Spec(K, group_size, zero, norm, eps, offset, weight, bias, static, quads)

    def build(isa: Isa) -> Any:
        def body(lo: V.Expr, hi: V.Expr, m: V.Expr, *given: V.Memory) -> None:
            with V.loop(lo * V.i32(_BLOCK), hi * V.i32(_BLOCK)) as i:
                out = _Panel(spec, isa, i, spec.memories(given))
                V.branch(i < m, out.fill, out.clear)

        return V.function(spec.name("quantize_rows"), isa, ("m",), spec.pointers, body)

    return Kernel(spec.name("quantize_rows"), (Param("m", "value"), *spec.params), build, "16 rows", 0, 0)


class _Panel:
    """Row i of a chunk in the interleaved layout."""

    def __init__(self, spec: Spec, isa: Isa, i: V.Expr, memories: _Memories):
        rows, together = isa.gemm_rows, spec.quads or isa.panel_quads
        self.spec, self.rows, self.together, self.i, self.memories = spec, rows, together, i, memories
        self.unsigned = spec.quads > 0 and isa.dot == "vnni512"
        block, lane = V.let(i // V.i32(rows)), V.let(i % V.i32(rows))
        self.quad = V.let(block * V.i32(spec.width // 4 * rows) + lane * V.i32(together))
        self.corr = V.let(block * V.i32(len(spec.groups) * rows) + lane)

    def fill(self) -> None:
        row = _Row(self.spec, self.memories, V.let(self.i * V.i32(self.spec.width)))
        self.memories.sa.store(self.i, row.scale)
        row.emit_codes(lambda k, c: self._store_quads(k, V.bits("int32x4", V.cast("int8", c))), self._store_corr)

    def clear(self) -> None:
        self.memories.sa.store(self.i, V.f32(0))
        with V.loop(V.i32(0), V.i32(self.spec.width // V.LANES)) as k:
            self._store_quads(k * V.i32(V.LANES), V.bits("int32x4", V.splat(0, 4)))
        with V.loop(V.i32(0), V.i32(len(self.spec.groups))) as g:
            self._store_corr(g, V.i32(0))

    def _store_quads(self, k: V.Expr, quads: V.Expr) -> None:
        quads = V.let(quads ^ V.splat(UNSIGNED, 4) if self.unsigned else quads)
        out = self.memories.q.as_type("int32")
        for j in range(0, 4, self.together):
            at = self.quad + (k // V.i32(4) + V.i32(j)) * V.i32(self.rows)
            out.store(at, V.part(quads, j, self.together))

    def _store_corr(self, g: V.Expr, correction: V.Expr) -> None:
        self.memories.corr.store(self.corr + g * V.i32(self.rows), correction)


class _Row:
    """Emits the statistics of a row when made; then its `scale`, and its codes with `emit_codes`."""

    def __init__(self, spec: Spec, memories: _Memories, start: V.Expr):
        self.spec, self.start = spec, start
        self.x, self.nw, self.nb = memories.x, memories.nw, memories.nb
        if spec.norm == "layer":
            self.mean = V.let(self._sum(lambda k, total: total + self._load(k)) * V.f32(1 / spec.K))
            centred = lambda k: V.let(within(k, self._load(k) - V.splat(self.mean), spec.K))  # noqa: E731
            self.factor = self._inverse_root(self._sum_squares(centred))
        elif spec.norm == "rms":
            self.factor = self._inverse_root(self._sum_squares(lambda k: V.let(self._load(k))))
        if memories.xs is None:
            self._measure()
        else:
            self.scale = V.let(memories.xs[V.i32(0)])
            inverse = V.let(V.f32(1.0) / self.scale)
            self.inverse = V.let(inverse * self.factor) if spec.scaled_late else inverse

    def _measure(self) -> None:
        """The scale from the row's largest magnitude."""
        larger = lambda k, top: V.maximum(V.let(V.absolute(self._value(k))), top)  # noqa: E731
        absmax = V.let(self._reduce(ABSMAX_FLOOR, larger, V.max16))
        self.inverse = V.let(V.f32(127.0) / absmax)
        peak = V.let(absmax * self.factor) if self.spec.scaled_late else absmax
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
            codes = V.let(V.cast("int32", V.rint(self._scaled(k))))
            total.set(total.v + codes)
            store(k, codes)
        store_corr(g, V.let(V.sum16(total.v) * V.i32(-self.spec.zero)))

    def _scaled(self, k: V.Expr) -> V.Expr:
        """Code before rounding: within 127 by itself where 127 is the row's largest."""
        scaled = self._value(k) * V.splat(self.inverse)
        if not self.spec.static:
            return scaled
        below = V.let(V.minimum(V.let(scaled), V.splat(127.0)))
        return V.let(V.maximum(below, V.splat(-127.0)))

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
    nw: np.ndarray | None = None, nb: np.ndarray | None = None, xs: float | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """f32[M, K] -> (codes before rounding f64[M, K], scale f64[M], the normalised rows f64[M, K]); xs: static scale."""
    t = np.asarray(x, np.float64)
    if norm == "layer":
        t = t - t.mean(-1, keepdims=True)
    if norm:
        t = t / np.sqrt((t * t).mean(-1, keepdims=True) + eps)
        t = t if nw is None else t * (nw + np.float64(offset))
        t = t if nb is None else t + nb
    if xs is not None:
        return np.clip(t / np.float64(xs), -127, 127), np.full(len(t), xs, np.float64), t
    absmax = np.maximum(np.abs(t).max(-1), ABSMAX_FLOOR)
    return t * (127 / absmax)[:, None], absmax / 127, t


def corrections(q: np.ndarray, group_size: int, zero: int) -> np.ndarray:
    """int8[M, K] -> int32[M, KG]: `-zero * sum of the group's codes`."""
    size = group_size or q.shape[1]
    sums = [q[:, k : k + size].astype(np.int32).sum(1) for k in range(0, q.shape[1], size)]
    return (-zero * np.stack(sums, 1)).astype(np.int32)
