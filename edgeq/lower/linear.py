"""Quantized linears: the norm before, the quantization of activations and what follows, around one GEMV or GEMM."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from torch import fx

from edgeq.errors import UnsupportedError
from edgeq.ir.graph import arguments as attrs
from edgeq.ir.graph import hf_name as module
from edgeq.ir.graph import op
from edgeq.kernels import linear_float, linear_int, sparse
from edgeq.kernels import quantize as quantize_kernels
from edgeq.lower import binary
from edgeq.lower.node import only_user, width
from edgeq.lower.norm import Norm
from edgeq.lower.plan import NULL, PRIVATE, Arg, Offset, Split, Weight
from edgeq.lower.scope import Scope
from edgeq.lower.values import Buffer, View
from edgeq.lower.weights import TILE, padded
from edgeq.quant.format import WeightFormat
from edgeq.quant.support import without_kernel

PASS_BYTES = 512 << 10  # of activations: half of an L2 cache
ACTIVATIONS = {"aten.gelu": "gelu", "aten.silu": "silu", "aten.relu": "relu", "edgeq.quick_gelu": "quick_gelu"}


@dataclass(frozen=True)
class Epilogue:
    """What a linear does with its result: `text` for the kernel, the node it computes, the residual it adds."""

    text: str
    node: fx.Node
    residual: View | None = None
    gated: bool = False


def lower_linear(scope: Scope, node: fx.Node) -> None:
    """Lower an `edgeq.qlinear` with everything fused into it; binds the node that the fused call computes."""
    a = attrs(node)
    fmt = WeightFormat.parse(a["weight"])
    if problem := without_kernel(fmt, a["act"]):
        raise UnsupportedError(f"{module(node)}: no kernel yet for {problem}; only simulated")
    if a["act"] == "a1":
        return binary.lower_binary(scope, node)
    end = epilogue(scope, node)
    weight = Weight(scope.table.matrix(a["w"], fmt, end.gated, a["w_scale"], a["w_zero"]))
    bias = Weight(scope.table.vector(a["bias"], end.gated)) if a["bias"] is not None else NULL
    integer = a["act"] in ("a8", "a8s")
    inputs, rows = _quantized(scope, a["x"], fmt, node) if integer else _float(scope, a["x"])
    out = output_view(scope, node, end, rows)
    family = sparse if fmt.meaning.sparse else linear_int if integer else linear_float
    shape = (width(node), padded(width(a["x"])), fmt, end.text, a["bias"] is not None)
    kernel = family.gemv(*shape) if rows == 1 else family.gemm(*shape, *((out.ld,) if node in scope.places else ()))
    split, origin = split_of(scope, node, end, out), end.node if module(end.node) else node
    for first, count in _passes(scope, rows, 1 if integer else 4, width(a["x"])):
        head = () if rows == 1 else (scope.count(count),)
        moving = (_from(x, first) for x in (*inputs, end.residual or NULL, out))
        scope.call(kernel, (*head, weight, bias, *moving), split, origin)
    bind(scope, node, end, out)


def bind(scope: Scope, node: fx.Node, end: Epilogue, out: View) -> None:
    """What a linear's call has computed: its own node's value or that of the last one fused into it."""
    scope.env[end.node] = out
    scope.done |= {node, end.node, *(node.users if end.gated or end.residual is not None else ())}


def _passes(scope: Scope, rows: int, item_bytes: int, k: int) -> list[tuple[int, int]]:
    """(first row, rows) of each pass: a tile of weights meets all rows of one, so they should stay in the L2 cache."""
    if not scope.static:
        return [(0, rows)]
    step = max(64, PASS_BYTES // (item_bytes * k) // 64 * 64)
    return [(first, min(step, rows - first)) for first in range(0, rows, step)]


def _from(arg: Arg, first: int) -> Arg:
    """The argument from a row on (a multiple of the blocks in which quantized rows are interleaved)."""
    if not first or arg is NULL:
        return arg
    if isinstance(arg, Buffer):
        return Offset(arg, first * arg.row_bytes)
    assert isinstance(arg, View)
    return replace(arg, first=arg.first + first)


def activation_name(node: fx.Node) -> str | None:
    """The activation that a node computes, in the kernels' words."""
    name = ACTIVATIONS.get(op(node))
    return "gelu_tanh" if name == "gelu" and attrs(node)["approximate"] == "tanh" else name


def epilogue(scope: Scope, node: fx.Node) -> Epilogue:
    """The longest tail that the kernel can do: gated activation, activation, residual addition, both."""
    if (gated := _gated_user(node)) is not None:
        return Epilogue(f"gated:{attrs(gated)['act']}", gated, gated=True)
    user = only_user(node)
    if user is not None and (name := activation_name(user)):
        return Epilogue(f"act:{name}", user)
    if user is not None and op(user) == "aten.add" and (residual := _residual(scope, user, node)):
        last = only_user(user)
        if scope.static and last is not None and (name := activation_name(last)):
            return Epilogue(f"add:{name}", last, residual)
        return Epilogue("add", user, residual)
    return Epilogue("store", node)


def _residual(scope: Scope, add: fx.Node, node: fx.Node) -> View | None:
    """The other operand of an addition when it is already computed and has the same rows."""
    other = next((x for x in add.args[:2] if x is not node), None)
    value = scope.env.get(other) if isinstance(other, fx.Node) else None
    if not isinstance(value, View) or value.width != width(node) or value.width % TILE or value.column:
        return None
    return value if value.ld == value.width and value.rows == _rows(scope, node) else None


def _rows(scope: Scope, node: fx.Node) -> int:
    x = scope.env[attrs(node)["x"]]
    return x.view.rows if isinstance(x, Norm) else x.rows


def _gated_user(node: fx.Node) -> fx.Node | None:
    """The gated activation that uses both halves of this linear and nothing else does, else None."""
    users = list(node.users)
    half = width(node) // 2
    if len(users) != 2 or any(op(u) != "aten.slice" for u in users) or half % TILE:
        return None
    starts = {int(attrs(u)["start"] or 0): only_user(u) for u in users}
    gate = starts.get(0)
    if set(starts) != {0, half} or gate is None or op(gate) != "edgeq.gated" or starts[half] is not gate:
        return None
    first = attrs(gate)["gate"]
    return gate if int(attrs(first)["start"] or 0) == 0 else None


def _float(scope: Scope, x: fx.Node) -> tuple[tuple[Arg, ...], int]:
    view = scope.view(x)
    return (view,), view.rows


def _quantized(scope: Scope, x: fx.Node, fmt: WeightFormat, node: fx.Node) -> tuple[tuple[Arg, ...], int]:
    """Codes, group sums and scale of x (its norm fused in), computed once for linears that share them."""
    value = scope.env[x]
    norm = value if isinstance(value, Norm) else Norm(scope.view(x))
    key = (x, *(wanted := _wanted(fmt)), attrs(node)["x_scale"])
    if key not in scope.quantized:
        scope.quantized[key] = _quantize(scope, norm, wanted, node)
    return scope.quantized[key], norm.view.rows


def _wanted(fmt: WeightFormat) -> tuple[int, int, int]:
    """How a linear of this format reads activations: its group size, zero point, and quads that lie together.

    An asymmetric one multiplies the sums of groups by each row's own zero point; a sparse one reads no sums.
    """
    return (0, 1, sparse.PANEL_QUADS) if fmt.meaning.sparse else (fmt.group_size, fmt.zero_point or 1, 0)


def _quantize(scope: Scope, norm: Norm, wanted: tuple[int, int, int], node: fx.Node) -> tuple[Buffer, ...]:
    rows, one, k = norm.view.rows, norm.view.rows == 1, padded(norm.view.width)
    group_size, zero, quads = wanted
    sizes = {"codes": k, "sums": 4 * -(-k // (group_size or k)), "scale": 4}
    out = tuple(scope.buffer(name, size, rows, private=one) for name, size in sizes.items())
    make = quantize_kernels.quantize if one else partial(quantize_kernels.quantize_rows, quads=quads)
    given = norm.weight is not None or norm.kind is None, norm.bias is not None
    size = k if norm.kind is None else norm.view.width
    known = attrs(node)["x_scale"]
    kernel = make(size, group_size, zero, norm.kind, norm.eps, norm.offset, *given, static=known is not None)
    weights = tuple(Weight(scope.table.vector(w)) if w is not None else NULL for w in (norm.weight, norm.bias))
    weights += () if known is None else (Weight(scope.table.vector(known)),)
    count = () if one else (scope.count(rows),)
    scope.call(kernel, (*count, norm.view, *weights, *out), PRIVATE if one else scope.by_blocks(rows), node)
    return out


def output_view(scope: Scope, node: fx.Node, end: Epilogue, rows: int) -> View:
    """Where the result goes: columns reserved for it, the logits, the residual's own place when nobody needs it any
    more, or a new buffer."""
    if node in scope.places:
        return scope.places[node]
    if scope.logits is not None and _is_logits(end.node):
        return View(scope.logits, width(end.node), 1)
    r = end.residual
    if r is not None and not (r.buffer.private or r.buffer.pinned or r.last) and _dies(scope, node, r):
        return r
    return scope.tensor(end.text.split(":")[0], width(end.node), rows)


def _dies(scope: Scope, node: fx.Node, r: View) -> bool:
    """Whether the residual's buffer has no reader after the addition that uses the linear."""
    holders = [n for n, v in scope.env.items() if isinstance(v, (View, Norm)) and _buffer(v) is r.buffer]
    return all(u in node.users or u in scope.done for n in holders for u in n.users)


def _buffer(value: View | Norm) -> Buffer:
    return value.view.buffer if isinstance(value, Norm) else value.buffer


def _is_logits(node: fx.Node) -> bool:
    """Whether only element-wise work separates the node from the entry's output."""
    user = only_user(node)
    if user is None:
        return False
    return user.op == "output" or (op(user) in ("aten.div", "aten.tanh", "aten.mul") and _is_logits(user))


def split_of(scope: Scope, node: fx.Node, end: Epilogue, out: View) -> Split:
    """Output tiles shared out evenly, or whole heads when the heads kernel follows."""
    if node in scope.places:
        return Split("units", padded(out.width) // TILE, 1, share=f"{out.buffer.name}.parts")
    site = scope.sites.get(node)
    if site is not None and site.tiles_per_head:
        return Split("units", site.heads_total, site.tiles_per_head, share=out.buffer.name)
    return Split("units", padded(out.width) // TILE, 1, share=out.buffer.name)
