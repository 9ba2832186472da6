"""Reductions: for 16 neighbouring results at once, or 16 elements of one sum at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import prod
from typing import Any

from tvm import tirx

from edgeq.kernels.vector import LANES, Reg, fma, i32, lanes_of, let, loop, part, select, splat
from edgeq.lower.glue.expression import kind
from edgeq.lower.glue.space import const
from edgeq.lower.glue.stage import Stage
from edgeq.lower.glue.transpose import pick
from edgeq.lower.glue.value import Binding, Evaluator, like, memory_type, same_lanes

Expr = Any
Var = Any
UNROLL = 9  # taps of a small window are written out


def reduce(evaluator: Evaluator, stage: Stage, bindings: Sequence[Binding], lane_axis: Var | None) -> list[Expr]:
    """The stage's values at several indices, in one pass over what is reduced; results are scalars with `lane_axis`."""
    if lane_axis is None:
        return _by_element(evaluator, stage, bindings)
    return _by_lane(evaluator, stage, bindings, lane_axis)


def _by_element(evaluator: Evaluator, stage: Stage, bindings: Sequence[Binding]) -> list[Expr]:
    lanes = LANES if evaluator.space.lane is not None else 1
    sums = [_accumulator(evaluator, stage, lanes) for _ in bindings]
    with evaluator.scope():
        for indices in _nest(evaluator, stage.reduce):
            _accumulate(evaluator, stage, sums, [{**b, **indices} for b in bindings])
    return [s.v for s in sums]


def _by_lane(evaluator: Evaluator, stage: Stage, bindings: Sequence[Binding], axis: Var) -> list[Expr]:
    extent = next(n for var, n in stage.reduce if var.same_as(axis))
    others = tuple((var, n) for var, n in stage.reduce if not var.same_as(axis))
    sums = [_accumulator(evaluator, stage, LANES) for _ in bindings]
    with evaluator.scope():
        for indices in _nest(evaluator, others):
            inner = [{**b, **indices} for b in bindings]
            whole, rest = divmod(extent, LANES)
            if whole:
                with evaluator.scope(), evaluator.space.lanes() as lane, counted(evaluator, whole) as j:
                    _accumulate(evaluator, stage, sums, [{**b, axis: j * const(LANES) + lane} for b in inner])
            if rest:
                _rest(evaluator, stage, sums, inner, axis, extent)
    return _folded(stage.combine, [s.v for s in sums])


def _rest(
    evaluator: Evaluator, stage: Stage, sums: list[Reg], bindings: list[dict[Var, Expr]], axis: Var, extent: int
) -> None:
    """The last elements: the last 16 again with those already counted masked, or fewer lanes than 16."""
    rest = extent % LANES
    overlap = extent >= LANES
    start = extent - LANES if overlap else 0
    number = tirx.Ramp(i32(0), i32(1), LANES)
    mask = number >= splat(LANES - rest) if overlap else number < splat(rest)
    with evaluator.scope(), evaluator.space.lanes(LANES if overlap else rest) as lane:
        _accumulate(evaluator, stage, sums, [{**b, axis: lane + const(start)} for b in bindings], mask)


def _accumulator(evaluator: Evaluator, stage: Stage, lanes: int) -> Reg:
    start = evaluator.value(stage.init, {})
    start = _stored(start)
    return Reg(memory_type(stage.dtype), splat(start, lanes) if lanes > 1 else start, lanes)


def _stored(x: Expr) -> Expr:
    return tirx.Cast("int32", x) if str(x.ty.dtype) == "bool" else x


def _accumulate(
    evaluator: Evaluator, stage: Stage, sums: list[Reg], bindings: list[dict[Var, Expr]], mask: Expr = None
) -> None:
    """One step of every sum."""
    for total, binding in zip(sums, bindings, strict=True):
        product = _product(evaluator, stage, binding) if mask is None and stage.combine == "add" else None
        if product is not None:
            a, b, _ = same_lanes([*product, total.v])
            total.set(fma(a, b, total.v))
            continue
        value = evaluator.value(stage.value, binding)
        if stage.dtype == "bool":
            value = select(value, like(1, total.v), like(0, total.v))
        value, _ = same_lanes([value, total.v])
        new = _combine(stage.combine, total.v, value)
        total.set(new if mask is None else select(mask, let(new), total.v))


def _product(evaluator: Evaluator, stage: Stage, binding: Binding) -> tuple[Expr, Expr] | None:
    """The two factors of a float product, which is added with one rounding."""
    e = stage.value
    if kind(e) != "Mul" or stage.dtype != "float32":
        return None
    return evaluator.value(e.a, binding), evaluator.value(e.b, binding)


def _combine(how: str, a: Expr, b: Expr) -> Expr:
    if how == "add":
        return a + b
    if how == "mul":
        return a * b
    return select(a > b, a, b) if how in ("max", "or") else select(a < b, a, b)


def _folded(how: str, sums: list[Expr]) -> list[Expr]:
    """16 lanes of each to one: halves 8 apart, then 4, 2, 1; sixteen vectors go through the same tree side by side."""
    if len(sums) == LANES:
        total = let(_together(how, sums))
        return [part(total, k, 1) for k in range(LANES)]
    return [let(_fold(how, s)) for s in sums]


def _together(how: str, vectors: list[Expr]) -> Expr:
    """Lane k of the result is the fold of vector k: each round folds the blocks of two neighbours into one vector."""
    half = LANES // 2
    while half:
        low = [(i // half) * 2 * half + i % half for i in range(LANES)]
        high = [i + half for i in low]
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [let(_combine(how, pick(a, b, low), pick(a, b, high))) for a, b in pairs]
        half //= 2
    return vectors[0]


def _fold(how: str, x: Expr) -> Expr:
    """16 lanes to one, always in the same tree."""
    lanes = lanes_of(x)
    while lanes > 1:
        x, lanes = let(x), lanes // 2
        x = _combine(how, part(x, 0, lanes), part(x, lanes, lanes))
    return x


@contextmanager
def counted(evaluator: Evaluator, extent: int, begin: Expr = 0, end: Expr = None) -> Iterator[Expr]:
    """A loop over 0..extent-1 (or from `begin` to `end` of code within) as a symbol; a loop of one is none."""
    if extent == 1 and end is None:
        yield const(0)
        return
    with loop(begin, extent if end is None else end) as i:
        yield evaluator.space.symbol(extent, i)


def _nest(evaluator: Evaluator, axes: Sequence[tuple[Var, int]]) -> Iterator[dict[Var, Expr]]:
    """Bindings of the reduced axes: loops outside, the innermost few written out."""
    split = len(axes)
    while split and prod(n for _, n in axes[split - 1 :]) <= UNROLL:
        split -= 1
    with ExitStack() as stack:
        outer = {var: stack.enter_context(counted(evaluator, n)) for var, n in axes[:split]}
        for flat in range(prod(n for _, n in axes[split:])):
            inner = {}
            for var, n in reversed(axes[split:]):
                flat, digit = divmod(flat, n)
                inner[var] = const(digit)
            yield {**outer, **inner}


Write = Callable[[], None]
