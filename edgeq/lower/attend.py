"""Attention of static entries: over whole sequences, without a cache."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from torch import fx

from edgeq.errors import UnsupportedError
from edgeq.ir.graph import arguments as attrs
from edgeq.ir.graph import hf_name as module
from edgeq.ir.graph import is_weight, op
from edgeq.kernels import attend as attend_kernels
from edgeq.kernels import attend_codes, attend_signs, attend_values
from edgeq.kernels.kernel import Kernel
from edgeq.lower import signs
from edgeq.lower.node import shape, width
from edgeq.lower.plan import NULL, Arg, Split, Weight
from edgeq.lower.scope import Scope
from edgeq.lower.values import View
from edgeq.lower.weights import padded


def lower_attention(scope: Scope, node: fx.Node) -> None:
    """One call: a unit is a block of queries of one head of one example."""
    a = attrs(node)
    if a["sinks"] is not None:
        raise UnsupportedError(f"{module(node) or node.name}: attention sinks")
    q, k, v = (_rows(scope, a[x]) for x in "qkv")
    strides = [padded(width(a[n])) if isinstance(x, Weight) else x.ld for n, x in zip("qkv", (q, k, v), strict=True)]
    (batch, rows), keys = shape(a["q"])[:2], shape(a["k"])[1]
    dim, value_dim = width(a["q"]) // a["heads"], width(a["v"]) // a["kv_heads"]
    kind, extra = _bias(scope, node)
    sizes = (batch, rows, keys, a["heads"], a["kv_heads"], dim, value_dim)
    masks = (a["causal"], a["left"], a["right"], float(a["softcap"]), a["pad"] is not None, kind)
    pad, compared = _pad(scope, a["pad"]) if a["pad"] is not None else NULL, cast(Arg, k)
    if a["probs"]:
        kernel, given = _coded(scope, node, v, sizes, strides, masks)
        needed = attend_codes.scratch_bytes(kernel)
    elif op(a["q"]) == signs.OP:
        kernel, compared = signs.lower_scores(scope, node, k, sizes, strides, masks)
        given, needed = (v,), attend_signs.scratch_bytes(kernel)
    else:
        kernel = attend_kernels.attend(*_all(sizes, strides, [float(a["scale"])], masks))
        given, needed = (v,), attend_kernels.scratch_bytes(kernel)
    scratch = scope.buffer("scores", needed, 1, private=True)
    out = scope.tensor("attend", a["heads"] * value_dim, batch * rows)
    split = Split("units", attend_kernels.units(kernel))
    scope.call(kernel, (q, compared, *given, pad, *extra, scratch, out), split, node)
    scope.env[node] = out


def _all(*parts: Iterable[Any]) -> list[Any]:
    """A factory's arguments, in order."""
    return [x for part in parts for x in part]


def _coded(
    scope: Scope, node: fx.Node, v: Weight | View, sizes: tuple[int, ...], strides: list[int], masks: tuple[Any, ...]
) -> tuple[Kernel, tuple[Arg, ...]]:
    """Values as int8, by a call of their own; the kernel over codes and what it takes for v: those, their scales, s."""
    a = attrs(node)
    batch, _, keys, _, kv_heads, _, value_dim = sizes
    kernel = attend_codes.attend_codes(*_all(sizes, strides[:2], [float(a["scale"]), a["probs"]], masks))
    units, width = batch * kv_heads, padded(value_dim)
    codes = scope.buffer("values", 4 * width * -(-keys // 4) * units, 1)
    scales = scope.buffer("value_scales", 4 * width * units, 1)
    quantize = attend_values.values(batch, keys, kv_heads, value_dim, strides[2])
    scope.call(quantize, (v, codes, scales), Split("units", units), node)
    return kernel, (codes, scales, Weight(scope.table.rows(a["probs_scale"])))


def _pad(scope: Scope, node: fx.Node) -> Arg:
    """i32 `[B, padded(L)]`, nonzero where a key is real."""
    view = scope.view(node)
    if view.dtype != "i32" or (view.ld != padded(view.width) and view.rows > 1):
        raise UnsupportedError(f"{module(node) or node.name}: a padding mask that is no tensor of padded integer rows")
    return view


def _bias(scope: Scope, node: fx.Node) -> tuple[str, tuple[Arg, Arg, Arg]]:
    """What is added to scores: the kernel's word for it and its pointers (bias, row_bias, column_bias)."""
    a = attrs(node)
    if a["row_bias"] is not None:
        sizes = [width(a[x]) for x in ("row_bias", "column_bias")]
        row, column = (_padded_rows(scope, a[x]) for x in ("row_bias", "column_bias"))
        return f"grid:{sizes[0]},{sizes[1]}", (NULL, row, column)
    if a["bias"] is None:
        return "", (NULL, NULL, NULL)
    batch, heads, rows, keys = (1,) * (4 - len(shape(a["bias"]))) + shape(a["bias"])
    if (rows, keys) != (shape(a["q"])[1], shape(a["k"])[1]):
        raise UnsupportedError(f"{module(node) or node.name}: a score bias {list(shape(a['bias']))} to be broadcast")
    return f"full:{batch},{heads}", (_padded_rows(scope, a["bias"]), NULL, NULL)


def _padded_rows(scope: Scope, node: fx.Node) -> Weight | View:
    """A float tensor whose rows are padded to multiples of 16."""
    rows = _rows(scope, node)
    if isinstance(rows, View) and rows.ld != padded(rows.width):
        raise UnsupportedError(f"{module(node) or node.name}: a score bias whose rows lie {rows.ld} apart")
    return rows


def _rows(scope: Scope, node: fx.Node) -> Weight | View:
    """A tensor in memory, or a weight stored with rows that are padded to multiples of 16."""
    return Weight(scope.table.rows(node)) if is_weight(node) else scope.view(node)
