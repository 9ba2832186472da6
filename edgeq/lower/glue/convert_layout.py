"""Conversions of ops that move elements."""

from __future__ import annotations

from typing import Any

from torch import fx
from tvm import relax, te, tirx, topi

from edgeq.ir.graph import arguments
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


def index_select(importer: Any, node: fx.Node) -> Expr:
    """`index_select`."""
    source, axis, ids = node.args
    return _gathered(importer, node, source, axis_of(axis, len(shape_of(source))), ids)


def index(importer: Any, node: fx.Node) -> Expr:
    """`index` by one tensor; by several as TVM does it."""
    source, indices = node.args
    axes = [axis for axis, ids in enumerate(indices) if ids is not None]
    if len(axes) != 1 or type_of(indices[axes[0]]) == "bool":
        return importer.convert_map["index.Tensor"](node)
    return _gathered(importer, node, source, axes[0], indices[axes[0]])


def _gathered(importer: Any, node: fx.Node, source: fx.Node, axis: int, ids: fx.Node) -> Expr:
    """Slices of `source` along an axis, picked by a tensor of any shape; negative numbers count from the end."""
    rank, size = len(shape_of(ids)), shape_of(source)[axis]

    def compute(t: Any, chosen: Any) -> Any:
        def pick(*i: Any) -> Any:
            k = chosen(*i[axis : axis + rank])
            place = tirx.Select(k < tirx.const(0, "int64"), k + tirx.const(size, "int64"), k)
            return t(*i[:axis], place, *i[axis + rank :])

        return te.compute(shape_of(node), pick, name="gathered", tag="injective")

    values = importer.env[source], operand(importer, ids, "int64")
    return importer.block_builder.emit_te(compute, *values, primfunc_name_hint="gathered")


def transpose2(importer: Any, node: fx.Node) -> Expr:
    """`t`."""
    x = importer.env[node.args[0]]
    return importer.block_builder.emit(relax.op.permute_dims(x)) if len(shape_of(node)) == 2 else x


def slice_scatter(importer: Any, node: fx.Node) -> Expr:
    """The slices before and after, with the new one between."""
    given = arguments(node)
    axis, step = axis_of(given["dim"], len(shape_of(node))), given["step"]
    size = shape_of(node)[axis]
    start, end = (_place(given[name], size, default) for name, default in (("start", 0), ("end", size)))
    if step != 1:
        return importer.convert_map["slice_scatter.default"](node)
    new = operand(importer, given["src"], type_of(node))
    return _between(importer, importer.env[given["self"]], new, axis, start, end, size)


def _place(bound: int | None, size: int, default: int) -> int:
    """A bound of a slice, counted from the front."""
    place = default if bound is None else bound
    return max(0, min(size, place + size if place < 0 else place))


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
