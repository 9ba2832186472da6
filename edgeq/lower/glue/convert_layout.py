"""Conversions of ops that move elements."""

from __future__ import annotations

from typing import Any

from torch import fx
from tvm import relax, te, tirx, topi

from edgeq.lower.glue.operands import axis_of, operand, shape_of, type_of

Expr = Any


def cat(importer: Any, node: fx.Node) -> Expr:
    """`cat`; parts of other types become the result's, as torch promotes them."""
    axis = axis_of(node.args[1] if len(node.args) > 1 else 0, len(shape_of(node)))
    parts = [operand(importer, part, type_of(node)) for part in node.args[0]]
    return importer.block_builder.emit(relax.op.concat(parts, axis))


def nearest(importer: Any, node: fx.Node) -> Expr:
    """`upsample_nearest2d`: pixel i comes from floor(i * before / after)."""
    before, after = shape_of(node.args[0])[-2:], shape_of(node)

    def compute(t: Any) -> Any:
        def pick(*i: Any) -> Any:
            sizes = zip(i[2:], before, after[2:], strict=True)
            return t(*i[:2], *(tirx.floordiv(o * n, tirx.const(m, "int64")) for o, n, m in sizes))

        return te.compute(after, pick, name="nearest", tag="injective")

    return importer.block_builder.emit_te(compute, importer.env[node.args[0]], primfunc_name_hint="nearest")


def transpose2(importer: Any, node: fx.Node) -> Expr:
    """`t`."""
    x = importer.env[node.args[0]]
    return importer.block_builder.emit(relax.op.permute_dims(x)) if len(shape_of(node)) == 2 else x


def slice_scatter(importer: Any, node: fx.Node) -> Expr:
    """The slices before and after, with the new one between."""
    x, source, *rest = node.args
    axis, start, end, step = (*rest, *(0, None, None, 1)[len(rest) :])
    size = shape_of(node)[axis]
    start = min(size, start + size if (start or 0) < 0 else start or 0)
    end = min(size, size if end is None else end + size if end < 0 else end)
    if step != 1:
        return importer.convert_map["slice_scatter.default"](node)
    return _between(importer, importer.env[x], operand(importer, source, type_of(node)), axis, start, end, size)


def select_scatter(importer: Any, node: fx.Node) -> Expr:
    """One slice replaced."""
    x, source, axis, index = node.args
    axis, size = axis_of(axis, len(shape_of(node))), shape_of(node)[axis]
    new = importer.block_builder.emit(relax.op.expand_dims(operand(importer, source, type_of(node)), axis))
    return _between(importer, importer.env[x], new, axis, index % size, index % size + 1, size)


def select(importer: Any, node: fx.Node) -> Expr:
    """One slice, without its axis."""
    source, axis, index = node.args
    shape = shape_of(source)
    axis = axis_of(axis, len(shape))
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
    *batch, channels, high, wide = shape_of(node.args[0])
    n = len(batch)
    split = emit(relax.op.reshape(x, [*batch, channels // (r * r), r, r, high, wide]))
    order = [*range(n), n, n + 3, n + 1, n + 4, n + 2]
    return emit(relax.op.reshape(emit(relax.op.permute_dims(split, order)), list(shape_of(node))))


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
