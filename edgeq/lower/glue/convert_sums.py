"""Conversions of reductions into plain sums and maxima, one tensor each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx
from tvm import relax, te, tirx

from edgeq.lower.glue.operands import axis_of, operand, shape_of, type_of

Expr = Any
Convert = Callable[[Any, fx.Node], Expr]


def extreme(reduce: Callable[..., Expr]) -> Convert:
    """`amax`, `amin` over any axes."""

    def convert(importer: Any, node: fx.Node) -> Expr:
        axes = list(node.args[1]) if len(node.args) > 1 and node.args[1] not in ([], ()) else None
        keep = bool(node.args[2]) if len(node.args) > 2 else False
        return importer.block_builder.emit(reduce(importer.env[node.args[0]], axes, keep))

    return convert


def argmax(importer: Any, node: fx.Node) -> Expr:
    """Position of the first largest element: its maximum, then the least index that has it."""
    x, shape = importer.env[node.args[0]], shape_of(node.args[0])
    axis = node.args[1] if len(node.args) > 1 else None
    keep = bool(node.args[2]) if len(node.args) > 2 else False
    if axis is None:
        x = importer.block_builder.emit(relax.op.reshape(x, [-1]))
        shape = (int(torch.Size(shape).numel()),)
    place = axis_of(axis or 0, len(shape))
    rest = shape[:place] + shape[place + 1 :]

    def compute(t: Any) -> Any:
        k, j = (te.reduce_axis((0, shape[place]), n) for n in ("k", "j"))
        best = te.compute(rest, lambda *i: te.max(t(*i[:place], k, *i[place:]), axis=k), name="best")

        def first(*i: Any) -> Any:
            here = t(*i[:place], j, *i[place:]) >= best(*i)
            return te.min(tirx.Select(here, tirx.Cast("int64", j), tirx.IntImm("int64", shape[place] - 1)), axis=j)

        return te.compute(rest, first, name="argmax")

    result = importer.block_builder.emit_te(compute, x, primfunc_name_hint="argmax")
    return importer.block_builder.emit(relax.op.reshape(result, list(shape_of(node)))) if keep else result


def cumsum(importer: Any, node: fx.Node) -> Expr:
    """Running sums as sums over a triangle: lengths are short, and every element is independent."""
    x, shape, axis = (
        operand(importer, node.args[0], type_of(node)),
        shape_of(node),
        axis_of(node.args[1], len(shape_of(node))),
    )

    def compute(t: Any) -> Any:
        k = te.reduce_axis((0, shape[axis]), "k")

        def total(*i: Any) -> Any:
            value = t(*i[:axis], k, *i[axis + 1 :])
            return te.sum(tirx.Select(k <= i[axis], value, tirx.const(0, type_of(node))), axis=k)

        return te.compute(shape, total, name="cumsum")

    return importer.block_builder.emit_te(compute, x, primfunc_name_hint="cumsum")


def group_norm(importer: Any, node: fx.Node) -> Expr:
    """Mean and variance of each group in one program, two passes over the group."""
    x, groups = importer.env[node.args[0]], int(node.args[1])
    weight, bias = (importer.env[a] if isinstance(a, fx.Node) else None for a in (*node.args[2:4], None, None)[:2])
    eps = float(node.args[4]) if len(node.args) > 4 else 1e-5
    shape = shape_of(node)
    members, area = shape[1] // groups, shape[2:]
    count = float(members * int(torch.Size(area).numel()))

    def compute(t: Any, *affine: Any) -> Any:
        def over(value: Callable[..., Any], name: str) -> Any:
            axes = [te.reduce_axis((0, n), f"r{i}") for i, n in enumerate((members, *area))]
            return te.compute((shape[0], groups), lambda b, g: te.sum(value(b, g, *axes), axis=axes), name=name)

        total = over(lambda b, g, m, *s: t(b, g * members + m, *s), "total")
        mean = te.compute((shape[0], groups), lambda b, g: total(b, g) / tirx.const(count, "float32"), name="mean")

        def square(b: Any, g: Any, m: Any, *s: Any) -> Any:
            d = t(b, g * members + m, *s) - mean(b, g)
            return d * d

        spread = over(square, "spread")
        scale = te.compute(
            (shape[0], groups),
            lambda b, g: tirx.rsqrt(spread(b, g) / tirx.const(count, "float32") + tirx.const(eps, "float32")),
            name="scale",
        )

        def normal(b: Any, c: Any, *s: Any) -> Any:
            g = tirx.floordiv(c, tirx.const(members, "int64"))
            y = (t(b, c, *s) - mean(b, g)) * scale(b, g)
            y = y * affine[0](c) if weight is not None else y
            return y + affine[-1](c) if bias is not None else y

        return te.compute(shape, normal, name="group_norm")

    given = [a for a in (weight, bias) if a is not None]
    return importer.block_builder.emit_te(compute, x, *given, primfunc_name_hint="group_norm")


def adaptive_average(importer: Any, node: fx.Node) -> Expr:
    """Adaptive average pooling over the last one or two axes: windows of varying size, masked to the largest."""
    x, before, after = importer.env[node.args[0]], shape_of(node.args[0]), shape_of(node)
    rank = 2 if "2d" in str(node.target) else 1
    sizes = list(zip(before[-rank:], after[-rank:], strict=True))
    windows = [max(-(-(o + 1) * n // m) - o * n // m for o in range(m)) for n, m in sizes]

    def compute(t: Any) -> Any:
        axes = [te.reduce_axis((0, w), f"r{i}") for i, w in enumerate(windows)]

        def bounds(i: Sequence[Any]) -> list[tuple[Any, Any]]:
            return [
                (tirx.floordiv(o * n, m), tirx.floordiv(o * n + n + m - 1, m))
                for o, (n, m) in zip(i, sizes, strict=True)
            ]

        def total(*i: Any) -> Any:
            limits = bounds(i[-rank:])
            inside = tirx.all(*(b + r < e for (b, e), r in zip(limits, axes, strict=True)))
            at = [
                tirx.min(b + r, tirx.const(n - 1, "int64"))
                for (b, _), r, (n, _) in zip(limits, axes, sizes, strict=True)
            ]
            return te.sum(tirx.Select(inside, t(*i[:-rank], *at), tirx.const(0.0, "float32")), axis=axes)

        summed = te.compute(after, total, name="window_sum")

        def average(*i: Any) -> Any:
            count = tirx.const(1, "int64")
            for b, e in bounds(i[-rank:]):
                count = count * (e - b)
            return summed(*i) / tirx.Cast("float32", count)

        return te.compute(after, average, name="adaptive_average")

    return importer.block_builder.emit_te(compute, x, primfunc_name_hint="adaptive_avg_pool")
