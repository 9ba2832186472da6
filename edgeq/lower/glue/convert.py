"""Conversions that TVM's importer lacks, or whose kernels are not plain loop nests; the others are TVM's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx
from tvm import relax, te, tirx, topi

from edgeq.ir.graph import arguments

Expr = Any
Convert = Callable[[Any, fx.Node], Expr]


def _dtype(node: fx.Node) -> str:
    return str(node.meta["val"].dtype).removeprefix("torch.")


def _shape(node: Any) -> tuple[int, ...]:
    return tuple(int(d) for d in node.meta["val"].shape)


def _axis(axis: int, rank: int) -> int:
    return axis % rank if rank else 0


def _operand(importer: Any, x: Any, dtype: str) -> Expr:
    """A node's value or a number, as a Relax expression of `dtype`."""
    if not isinstance(x, fx.Node):
        return relax.const(x, dtype)
    value = importer.env[x]
    return value if _dtype(x) == dtype else importer.block_builder.emit(relax.op.astype(value, dtype))


def cat(importer: Any, node: fx.Node) -> Expr:
    """`cat`; parts of other types become the result's, as torch promotes them."""
    axis = _axis(node.args[1] if len(node.args) > 1 else 0, len(_shape(node)))
    parts = [_operand(importer, part, _dtype(node)) for part in node.args[0]]
    return importer.block_builder.emit(relax.op.concat(parts, axis))


def where(importer: Any, node: fx.Node) -> Expr:
    """`where` with numbers for either side."""
    condition, yes, no = node.args
    sides = [_operand(importer, side, _dtype(node)) for side in (yes, no)]
    return importer.block_builder.emit(relax.op.where(_operand(importer, condition, "bool"), *sides))


def masked_fill(importer: Any, node: fx.Node) -> Expr:
    """`masked_fill` with any number, infinities too, or a tensor of one element."""
    x, mask, value = node.args
    sides = [_operand(importer, side, _dtype(node)) for side in (value, x)]
    return importer.block_builder.emit(relax.op.where(_operand(importer, mask, "bool"), *sides))


def nearest(importer: Any, node: fx.Node) -> Expr:
    """`upsample_nearest2d`: pixel i comes from floor(i * before / after)."""
    before, after = _shape(node.args[0])[-2:], _shape(node)

    def compute(t: Any) -> Any:
        def pick(*i: Any) -> Any:
            sizes = zip(i[2:], before, after[2:], strict=True)
            return t(*i[:2], *(tirx.floordiv(o * n, tirx.const(m, "int64")) for o, n, m in sizes))

        return te.compute(after, pick, name="nearest", tag="injective")

    return importer.block_builder.emit_te(compute, importer.env[node.args[0]], primfunc_name_hint="nearest")


def binary(operator: Callable[[Expr, Expr], Expr], swapped: bool = False, common: bool = False) -> Convert:
    """An operator of two operands brought to the type of the result, or with `common` to the type of both together."""

    def convert(importer: Any, node: fx.Node) -> Expr:
        a, b = node.args[:2]
        dtype = _common(a, b) if common else _dtype(node)
        x, y = (_operand(importer, side, dtype) for side in ((b, a) if swapped else (a, b)))
        alpha = node.kwargs.get("alpha", 1)
        if alpha is None or alpha == 1:
            return importer.block_builder.emit(operator(x, y))
        scaled = importer.block_builder.emit(relax.op.multiply(y, relax.const(alpha, dtype)))
        return importer.block_builder.emit(operator(x, scaled))

    return convert


def _common(a: Any, b: Any) -> str:
    held = [x.meta["val"] if isinstance(x, fx.Node) else x for x in (a, b)]
    return str(torch.result_type(*held)).removeprefix("torch.")


def divide(importer: Any, node: fx.Node) -> Expr:
    """`div`, with or without rounding."""
    mode = node.kwargs.get("rounding_mode")
    if mode == "floor":
        return binary(relax.op.floor_divide)(importer, node)
    emit, result = importer.block_builder.emit, _dtype(node)
    inner = result if result.startswith("float") else "float32"
    quotient = emit(relax.op.divide(*(_operand(importer, x, inner) for x in node.args[:2])))
    if mode == "trunc":
        quotient = emit(relax.op.trunc(quotient))
    return quotient if inner == result else emit(relax.op.astype(quotient, result))


def clamp(importer: Any, node: fx.Node) -> Expr:
    """`clamp`, `clamp_min`, `clamp_max`, `hardtanh`: bounds that are numbers, tensors, infinite or absent."""
    given = arguments(node)
    low, high = given.get("min", given.get("min_val")), given.get("max", given.get("max_val"))
    value = _operand(importer, node.args[0], _dtype(node))
    for bound, operator in ((low, relax.op.maximum), (high, relax.op.minimum)):
        if isinstance(bound, fx.Node) or (bound is not None and math.isfinite(bound)):
            value = importer.block_builder.emit(operator(value, _operand(importer, bound, _dtype(node))))
    return value


def extreme(reduce: Callable[..., Expr]) -> Convert:
    """`amax`, `amin` over any axes."""

    def convert(importer: Any, node: fx.Node) -> Expr:
        axes = list(node.args[1]) if len(node.args) > 1 and node.args[1] not in ([], ()) else None
        keep = bool(node.args[2]) if len(node.args) > 2 else False
        return importer.block_builder.emit(reduce(importer.env[node.args[0]], axes, keep))

    return convert


def transpose2(importer: Any, node: fx.Node) -> Expr:
    """`t`."""
    x = importer.env[node.args[0]]
    return importer.block_builder.emit(relax.op.permute_dims(x)) if len(_shape(node)) == 2 else x


def argmax(importer: Any, node: fx.Node) -> Expr:
    """Position of the first largest element: its maximum, then the least index that has it."""
    x, shape = importer.env[node.args[0]], _shape(node.args[0])
    axis = node.args[1] if len(node.args) > 1 else None
    keep = bool(node.args[2]) if len(node.args) > 2 else False
    if axis is None:
        x = importer.block_builder.emit(relax.op.reshape(x, [-1]))
        shape = (int(torch.Size(shape).numel()),)
    place = _axis(axis or 0, len(shape))
    rest = shape[:place] + shape[place + 1 :]

    def compute(t: Any) -> Any:
        k, j = (te.reduce_axis((0, shape[place]), n) for n in ("k", "j"))
        best = te.compute(rest, lambda *i: te.max(t(*i[:place], k, *i[place:]), axis=k), name="best")

        def first(*i: Any) -> Any:
            here = t(*i[:place], j, *i[place:]) >= best(*i)
            return te.min(tirx.Select(here, tirx.Cast("int64", j), tirx.IntImm("int64", shape[place] - 1)), axis=j)

        return te.compute(rest, first, name="argmax")

    result = importer.block_builder.emit_te(compute, x, primfunc_name_hint="argmax")
    return importer.block_builder.emit(relax.op.reshape(result, list(_shape(node)))) if keep else result


def cumsum(importer: Any, node: fx.Node) -> Expr:
    """Running sums as sums over a triangle: lengths are short, and every element is independent."""
    x, shape, axis = (
        _operand(importer, node.args[0], _dtype(node)),
        _shape(node),
        _axis(node.args[1], len(_shape(node))),
    )

    def compute(t: Any) -> Any:
        k = te.reduce_axis((0, shape[axis]), "k")

        def total(*i: Any) -> Any:
            value = t(*i[:axis], k, *i[axis + 1 :])
            return te.sum(tirx.Select(k <= i[axis], value, tirx.const(0, _dtype(node))), axis=k)

        return te.compute(shape, total, name="cumsum")

    return importer.block_builder.emit_te(compute, x, primfunc_name_hint="cumsum")


def group_norm(importer: Any, node: fx.Node) -> Expr:
    """Mean and variance of each group in one program, two passes over the group."""
    x, groups = importer.env[node.args[0]], int(node.args[1])
    weight, bias = (importer.env[a] if isinstance(a, fx.Node) else None for a in (*node.args[2:4], None, None)[:2])
    eps = float(node.args[4]) if len(node.args) > 4 else 1e-5
    shape = _shape(node)
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
    x, before, after = importer.env[node.args[0]], _shape(node.args[0]), _shape(node)
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


def slice_scatter(importer: Any, node: fx.Node) -> Expr:
    """The slices before and after, with the new one between."""
    x, source, *rest = node.args
    axis, start, end, step = (*rest, *(0, None, None, 1)[len(rest) :])
    size = _shape(node)[axis]
    start = min(size, start + size if (start or 0) < 0 else start or 0)
    end = min(size, size if end is None else end + size if end < 0 else end)
    if step != 1:
        return importer.convert_map["slice_scatter.default"](node)
    return _between(importer, importer.env[x], _operand(importer, source, _dtype(node)), axis, start, end, size)


def select_scatter(importer: Any, node: fx.Node) -> Expr:
    """One slice replaced."""
    x, source, axis, index = node.args
    axis, size = _axis(axis, len(_shape(node))), _shape(node)[axis]
    new = importer.block_builder.emit(relax.op.expand_dims(_operand(importer, source, _dtype(node)), axis))
    return _between(importer, importer.env[x], new, axis, index % size, index % size + 1, size)


def select(importer: Any, node: fx.Node) -> Expr:
    """One slice, without its axis."""
    source, axis, index = node.args
    shape = _shape(source)
    axis = _axis(axis, len(shape))
    begin = index % shape[axis]
    part = importer.block_builder.emit(relax.op.strided_slice(importer.env[source], [axis], [begin], [begin + 1]))
    return importer.block_builder.emit(relax.op.squeeze(part, [axis]))


def _between(importer: Any, x: Expr, new: Expr, axis: int, start: int, end: int, size: int) -> Expr:
    emit = importer.block_builder.emit
    parts = [new]
    if start:
        parts.insert(0, emit(relax.op.strided_slice(x, [axis], [0], [start])))
    if end < size:
        parts.append(emit(relax.op.strided_slice(x, [axis], [end], [size])))
    return emit(relax.op.concat(parts, axis)) if len(parts) > 1 else new


def pixel_shuffle(importer: Any, node: fx.Node) -> Expr:
    """[.., C*r*r, H, W] -> [.., C, H*r, W*r]."""
    x, r, emit = importer.env[node.args[0]], int(node.args[1]), importer.block_builder.emit
    *batch, channels, high, wide = _shape(node.args[0])
    n = len(batch)
    split = emit(relax.op.reshape(x, [*batch, channels // (r * r), r, r, high, wide]))
    order = [*range(n), n, n + 3, n + 1, n + 4, n + 2]
    return emit(relax.op.reshape(emit(relax.op.permute_dims(split, order)), list(_shape(node))))


def grid_sampler(importer: Any, node: fx.Node) -> Expr:
    """`grid_sampler` of images."""
    x, grid, mode, padding, align = node.args
    emit = importer.block_builder.emit
    turned = emit(relax.op.permute_dims(importer.env[grid], [0, 3, 1, 2]))
    method, pad = ("bilinear", "nearest", "bicubic")[mode], ("zeros", "border", "reflection")[padding]
    return importer.block_builder.emit_te(
        topi.image.grid_sample,
        importer.env[x],
        turned,
        method,
        "NCHW",
        pad,
        bool(align),
        primfunc_name_hint="grid_sample",
    )


CONVERT: Mapping[str, Convert] = {
    "select": select, "cat": cat,
    "add": binary(relax.op.add), "sub": binary(relax.op.subtract), "rsub": binary(relax.op.subtract, swapped=True),
    "mul": binary(relax.op.multiply), "div": divide, "pow": binary(relax.op.power), "clamp": clamp, "clamp_min": clamp,
    "maximum": binary(relax.op.maximum), "minimum": binary(relax.op.minimum), "clamp_max": clamp,
    "eq": binary(relax.op.equal, common=True), "ne": binary(relax.op.not_equal, common=True),
    "lt": binary(relax.op.less, common=True), "le": binary(relax.op.less_equal, common=True),
    "gt": binary(relax.op.greater, common=True), "ge": binary(relax.op.greater_equal, common=True),
    "logical_and": binary(relax.op.logical_and), "logical_or": binary(relax.op.logical_or), "hardtanh": clamp,
    "masked_fill": masked_fill, "upsample_nearest2d": nearest,
    "where": where, "amax": extreme(relax.op.max), "amin": extreme(relax.op.min), "t": transpose2,
    "argmax": argmax, "cumsum": cumsum, "group_norm": group_norm, "adaptive_avg_pool2d": adaptive_average,
    "adaptive_avg_pool1d": adaptive_average, "slice_scatter": slice_scatter, "select_scatter": select_scatter,
    "pixel_shuffle": pixel_shuffle, "grid_sampler": grid_sampler, "grid_sampler_2d": grid_sampler,
}  # fmt: skip
