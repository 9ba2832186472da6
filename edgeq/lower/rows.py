"""Row-wise ops outside linears and attention: embeddings, additions, activations, scaling, the last row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from torch import fx

from edgeq.errors import UnsupportedError
from edgeq.ir.graph import arguments as attrs
from edgeq.ir.graph import hf_name as module
from edgeq.ir.graph import op
from edgeq.kernels import elementwise, embed
from edgeq.lower.linear import activation_name
from edgeq.lower.node import only_user, shape, width
from edgeq.lower.plan import IDS, POS, Arg, Literal, Split, Weight
from edgeq.lower.scope import Scope
from edgeq.lower.values import Positions, Tokens, View
from edgeq.lower.weights import TILE
from edgeq.quant.format import WeightFormat


@dataclass(frozen=True)
class PositionRows:
    """Rows of a position table that wait to be added to something."""

    table: str
    offset: int


def lower_qembedding(scope: Scope, node: fx.Node) -> None:
    """Rows of a packed matrix at the token ids."""
    a = attrs(node)
    ids = _ids(scope, a["ids"], node)
    fmt = WeightFormat.parse(a["weight"])
    n, k = (int(d) for d in a["w"].meta["val"].shape)
    weight = Weight(scope.table.matrix(a["w"], fmt, False, a["w_scale"], a["w_zero"]))
    kernel = embed.embed(n, k, fmt, 1.0)
    if not isinstance(ids, View):
        scope.env[node] = scope.row_call(kernel, (ids, weight), node, k, scope.rows)
        return
    out = scope.tensor("embed", k, ids.rows * ids.width)
    dense = ids.ld == ids.width
    for row in range(1 if dense else ids.rows):  # ids of a row lie side by side, rows may lie apart
        count = ids.rows * ids.width if dense else ids.width
        args = (scope.count(count), replace(ids, first=ids.first + row), weight, replace(out, first=row * ids.width))
        scope.call(kernel, args, scope.by_rows(count), node)
    scope.env[node] = out


def _ids(scope: Scope, ids: fx.Node, node: fx.Node) -> Arg:
    """What is embedded: the tokens of a token entry, an integer tensor of a static one."""
    value = scope.env[ids]
    if isinstance(value, Tokens):
        return IDS
    if not isinstance(value, View) or value.dtype != "i32":
        raise UnsupportedError(f"{module(node)}: embeds something other than input_ids")
    return value


def lower_embedding(scope: Scope, node: fx.Node) -> None:
    """A position embedding: kept until the addition that uses it."""
    a = attrs(node)
    index = scope.env[a["indices"]]
    if not isinstance(index, Positions):
        raise UnsupportedError(f"{module(node)}: a float embedding of something other than positions")
    rows = int(a["weight"].meta["val"].shape[0])
    if rows < scope.context + index.offset:
        most = rows - index.offset
        raise UnsupportedError(f"{module(node)}: the position table has {most} positions; use --context {most} or less")
    scope.env[node] = PositionRows(scope.table.table(a["weight"]), index.offset)


def lower_add(scope: Scope, node: fx.Node) -> None:
    """Position + constant, rows + position rows, or two activations."""
    a, b = node.args[:2]
    if isinstance(a, fx.Node) and isinstance(scope.env.get(a), Positions) and isinstance(b, int):
        scope.env[node] = Positions(scope.env[a].offset + b)
        return
    left, right = scope.env.get(a), scope.env.get(b)
    if isinstance(left, PositionRows):
        left, right, a = right, left, b
    inputs: tuple[Arg, ...]
    if isinstance(right, PositionRows):
        x = scope.view(a)
        kernel, inputs = embed.positions(x.width, right.offset), (POS, Weight(right.table), x)
    else:
        x, y = scope.view(a), scope.view(b)
        kernel, inputs = elementwise.binary(x.width, "add"), (x, y)
    scope.env[node] = scope.row_call(kernel, inputs, node, x.width, x.rows)


def lower_scale(scope: Scope, node: fx.Node) -> None:
    """Multiplication or division by a constant; `cap * tanh(x / cap)` becomes one soft cap."""
    if (tail := _softcap(node)) is not None:
        end, cap = tail
        scope.env[end] = _unary(scope, attrs(node)["self"], end, "softcap", cap)
        scope.done |= {node, *node.users, end}
        return
    x, c = (node.args[0], node.args[1]) if isinstance(node.args[0], fx.Node) else (node.args[1], node.args[0])
    if not isinstance(c, (int, float)):
        scope.env[node] = _product(scope, node)
        return
    scope.env[node] = _unary(scope, x, node, "scale", float(c) if op(node) == "aten.mul" else 1.0 / float(c))


def _product(scope: Scope, node: fx.Node) -> View:
    x, y = scope.view(node.args[0]), scope.view(node.args[1])
    return scope.row_call(elementwise.binary(x.width, "mul"), (x, y), node, x.width, x.rows)


def _softcap(node: fx.Node) -> tuple[fx.Node, float] | None:
    """(last node, cap) when node starts `mul(tanh(div(x, cap)), cap)`."""
    tanh = only_user(node) if op(node) == "aten.div" else None
    end = only_user(tanh) if tanh is not None and op(tanh) == "aten.tanh" else None
    if end is None or op(end) != "aten.mul" or node.args[1] not in end.args:
        return None
    return end, float(node.args[1])  # type: ignore[arg-type]


def _unary(scope: Scope, x: fx.Node, node: fx.Node, name: str, value: float = 0.0) -> View:
    view = scope.view(x)
    if scope.logits is not None and view.buffer is scope.logits:
        return _logits_in_place(scope, view, node, name, value)
    return scope.row_call(elementwise.unary(view.width, name, value), (view,), node, view.width, view.rows)


def _logits_in_place(scope: Scope, view: View, node: fx.Node, name: str, value: float) -> View:
    """The logits are one long row: as rows of 16 they are shared out like the tiles of the head."""
    tiles = view.buffer.row_bytes // 4 // TILE
    split = Split("units", tiles, 1, share=view.buffer.name)
    scope.call(elementwise.unary(TILE, name, value), (Literal(str(tiles)), view, view), split, node)
    return view


def lower_activation(scope: Scope, node: fx.Node) -> None:
    """An activation that no linear could take in."""
    name = activation_name(node)
    assert name is not None
    scope.env[node] = _unary(scope, node.args[0], node, name)  # type: ignore[arg-type]


def lower_gated(scope: Scope, node: fx.Node) -> None:
    """A gated activation whose halves come from different linears."""
    a = attrs(node)
    gate, up = scope.view(a["gate"]), scope.view(a["up"])
    if gate.rows > 1 and (gate.ld != gate.width or up.ld != up.width):
        raise UnsupportedError(f"{module(node)}: gate and up are columns of a wider tensor")
    kernel = elementwise.gated(gate.width, a["act"])
    scope.env[node] = scope.row_call(kernel, (gate, up), node, width(node), gate.rows)


def lower_constant(scope: Scope, node: fx.Node) -> View:
    """A weight as a tensor of its own: an output that depends on no input."""
    kernel = elementwise.unary(width(node), "scale", 1.0)
    rows = prod(shape(node)[:-1])
    return scope.row_call(kernel, (Weight(scope.table.rows(node)),), node, width(node), rows)


def lower_last_row(scope: Scope, node: fx.Node) -> None:
    """No work: from here on the value is its last valid row."""
    scope.env[node] = scope.view(attrs(node)["x"]).last_row()


def lower_slice(scope: Scope, node: fx.Node) -> None:
    """Columns of a wider tensor: a view."""
    a = attrs(node)
    x = scope.view(a["self"])
    if a["dim"] not in (-1, len(node.meta["val"].shape) - 1):
        raise UnsupportedError(f"{module(node) or node.name}: slices an axis other than the last")
    end = x.width if a["end"] is None else min(int(a["end"]), x.width)
    scope.env[node] = x.columns(int(a["start"] or 0), end)
