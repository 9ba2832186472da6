"""Weight expressions: small graphs over weights that packing evaluates, by rows where it can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from edgeq.errors import VerifyError
from edgeq.frontend.match import base
from edgeq.ir.graph import is_weight

if TYPE_CHECKING:
    from edgeq.frontend.weights import Weights

def evaluate(node: fx.Node, weights: Weights, rows: slice | None = None) -> Tensor:
    """The float32 value (`[rows, ...]`) of a weight expression; integer buffers keep their type.

    rows: a range of the first axis. It is pushed down to the weights through what works by rows (`ROW_RULES`), so that
    only those are read; below any other op the whole operand is evaluated.

    Raises:
        VerifyError: the node is no weight expression.
    """
    if not is_weight(node):
        raise VerifyError(f"{node.name} ({node.target}) is not an expression over weights")
    if rows is None:
        return _evaluate(node, weights, None)
    start, stop, step = rows.indices(int(node.meta["val"].shape[0]))
    if step != 1:
        raise VerifyError("rows of a weight expression are read one after the other: the step must be 1")
    if start >= stop:
        return torch.empty(0, *node.meta["val"].shape[1:])
    return _evaluate(node, weights, slice(start, stop))


def _evaluate(node: fx.Node, weights: Weights, rows: slice | None) -> Tensor:
    if node.op == "get_attr":
        return _leaf(node, weights, rows)
    by_rows = ROW_RULES.get(base(node) or "")
    if rows is not None and by_rows is not None:
        found = by_rows(node, weights, rows)
        if found is not None:
            return found
    whole = _apply(node, weights)
    return whole if rows is None else whole[rows]


def _leaf(node: fx.Node, weights: Weights, rows: slice | None) -> Tensor:
    buffer = _buffer(node)
    if buffer is None:
        return weights.read(str(node.target), rows)
    buffer = buffer.float() if buffer.is_floating_point() else buffer
    return buffer if rows is None else buffer[rows]


def _buffer(node: fx.Node) -> Tensor | None:
    """The real tensor that the graph itself holds under this name, None for weights (which are meta tensors)."""
    found: Any = node.graph.owning_module
    for name in str(node.target).split("."):
        found = getattr(found, name, None)
    return found if isinstance(found, Tensor) and found.device.type != "meta" else None


def _apply(node: fx.Node, weights: Weights) -> Tensor:
    """The op on its whole operands."""

    def operand(x: fx.Node) -> Tensor:
        return _evaluate(x, weights, None)

    args, kwargs = fx.map_arg(node.args, operand), fx.map_arg(node.kwargs, operand)
    with torch.no_grad():
        return node.target(*args, **kwargs)  # type: ignore[operator]


def _slice_rows(node: fx.Node, weights: Weights, rows: slice) -> Tensor | None:
    given: list[Any] = list(node.args)
    x, axis, start, stop, step = given + [0, 0, None, None, 1][len(given) :]
    size = int(x.meta["val"].shape[0])
    begin, _, step = slice(start, stop, step).indices(size)
    if axis != 0 or step != 1:
        return None
    return _evaluate(x, weights, slice(begin + rows.start, begin + rows.stop))


def _index_rows(node: fx.Node, weights: Weights, rows: slice) -> Tensor | None:
    x, axis, index = node.args
    if axis != 0:
        return _evaluate(x, weights, rows).index_select(axis, _evaluate(index, weights, None))
    wanted = _evaluate(index, weights, rows)
    low, high = int(wanted.min()), int(wanted.max()) + 1
    return _evaluate(x, weights, slice(low, high)).index_select(0, wanted - low)


def _cat_rows(node: fx.Node, weights: Weights, rows: slice) -> Tensor | None:
    if len(node.args) > 1 and node.args[1] != 0:
        return None
    parts, at = [], 0
    for x in node.args[0]:
        size = int(x.meta["val"].shape[0])
        low, high = max(rows.start - at, 0), min(rows.stop - at, size)
        if low < high:
            parts.append(_evaluate(x, weights, slice(low, high)))
        at += size
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _elementwise_rows(node: fx.Node, weights: Weights, rows: slice) -> Tensor | None:
    """Operands are read by rows, but whole where they are the same for every row; numbers stay."""
    size = tuple(node.meta["val"].shape)

    def operand(x: fx.Node) -> Tensor:
        own = tuple(x.meta["val"].shape)
        return _evaluate(x, weights, rows if len(own) == len(size) and own[0] == size[0] else None)

    args = fx.map_arg(node.args, operand)
    return node.target(*args, **node.kwargs)  # type: ignore[operator]


def _row_wise(node: fx.Node, weights: Weights, rows: slice) -> Tensor | None:
    """What computes each row of its first operand by itself."""
    x, *rest = node.args
    if node.meta["val"].dim() < 2 or not isinstance(x, fx.Node):
        return None
    args = fx.map_arg(tuple(rest), lambda operand: _evaluate(operand, weights, None))
    with torch.no_grad():
        return node.target(_evaluate(x, weights, rows), *args, **node.kwargs)  # type: ignore[operator]


def _grid_rows(node: fx.Node, weights: Weights, rows: slice) -> Tensor | None:
    """Codes, scales and zero points lie side by side: a row of each is a row of the weight."""
    args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), lambda table: _evaluate(table, weights, rows))
    return node.target(*args, **kwargs)  # type: ignore[operator]


def _mean_rows(node: fx.Node, weights: Weights, rows: slice) -> Tensor | None:
    """A mean over axes other than the first."""
    axes = node.args[1] if len(node.args) > 1 and isinstance(node.args[1], list) else []
    rank = node.args[0].meta["val"].dim()  # type: ignore[union-attr]
    return _row_wise(node, weights, rows) if axes and all(axis % rank for axis in axes) else None


def _matmul_rows(node: fx.Node, weights: Weights, rows: slice) -> Tensor | None:
    """Rows of a product are rows of its left operand times the right one, as long as neither is a batch."""
    flat = all(isinstance(x, fx.Node) and x.meta["val"].dim() == 2 for x in node.args)
    return _row_wise(node, weights, rows) if flat else None


def _same_rows(node: fx.Node, weights: Weights, rows: slice) -> Tensor | None:
    """reshape and permute that leave the first axis alone."""
    x, given = node.args[0], list(node.args[1])
    size = int(node.meta["val"].shape[0])
    if base(node) == "permute":
        return _evaluate(x, weights, rows).permute(given) if given[0] == 0 else None
    if not x.meta["val"].dim() or int(x.meta["val"].shape[0]) != size:
        return None
    part = _evaluate(x, weights, rows)
    return part.reshape(len(part), *node.meta["val"].shape[1:])


ROW_RULES = {
    "slice": _slice_rows, "index_select": _index_rows, "cat": _cat_rows,
    "mul": _elementwise_rows, "add": _elementwise_rows, "sub": _elementwise_rows, "neg": _elementwise_rows,
    "to": _elementwise_rows, "rsqrt": _elementwise_rows, "div": _elementwise_rows,
    "minimum": _elementwise_rows, "maximum": _elementwise_rows, "clamp": _elementwise_rows,
    "reshape": _same_rows, "permute": _same_rows, "hadamard": _row_wise, "matmul": _matmul_rows, "mean": _mean_rows,
    "grid": _grid_rows,
}
