"""Layout: what stands between flat `[B, S, N]` tensors is followed on indices and vanishes.

A chain of layout ops that starts and ends at a flat tensor either keeps every feature in place (it is dropped), or
picks features of its own token. Then, over a linear, it is a linear over those rows of the weight (packed q, k, v and
gate, up); over anything else, a slice of the last axis where the features are adjacent. What else stays is reported.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from edgeq.frontend.export import attribute
from edgeq.frontend.fold_constants import hold
from edgeq.frontend.heads import as_flat, from_flat, heads_of
from edgeq.frontend.match import base, rank, shape
from edgeq.frontend.rewrite import call, replace, sweep
from edgeq.ir.graph import is_weight

aten, eq = torch.ops.aten, torch.ops.edgeq
LAYOUT = {
    "reshape", "transpose", "permute", "slice", "split", "split_with_sizes", "chunk", "unbind", "getitem", "select",
    "squeeze", "unsqueeze", "expand", "index", "movedim", "index_select",
}
ROW_WISE = {
    "linear", "layer_norm", "rms_norm", "add", "sub", "mul", "div", "tanh", "gelu", "silu", "relu", "quick_gelu",
    "gated",
}
LENGTH = 5  # any small number of tokens shows where features go


def lift_rows(node: fx.Node) -> bool:
    """A row-wise op on `[S, N]` (batch and length flattened together) -> the same on `[1, S, N]`."""
    if base(node) not in ROW_WISE or rank(node) != 2 or not isinstance(shape(node)[0], torch.SymInt):
        return False
    data = [x for x in node.all_input_nodes if not is_weight(x)]
    if any(rank(x) != 2 or not isinstance(shape(x)[1], int) for x in (*data, node)):
        return False  # tokens by tokens is no row of features
    lifted = {x: call(node, aten.reshape.default, x, [1, -1, int(shape(x)[1])]) for x in data}
    args = fx.map_arg(node.args, lambda x: lifted.get(x, x))
    new = call(node, node.target, *args, **node.kwargs)
    return replace(node, call(node, aten.reshape.default, new, [-1, int(shape(node)[1])]))


def flatten_norm(node: fx.Node) -> bool:
    """rms_norm over the last axis of a tensor with heads -> over each head's slice of the flat tensor."""
    heads = heads_of(node)
    if node.target is not eq.rms_norm.default or heads is None or node.kwargs.get("heads", 1) != 1:
        return False
    options = {**node.kwargs, "heads": heads.heads}
    flat = call(node, eq.rms_norm.default, as_flat(node, node.args[0], heads), *node.args[1:], **options)
    return replace(node, from_flat(node, flat, heads))


def resolve_layout(gm: fx.GraphModule) -> int:
    """Remove layout chains between flat tensors; returns how many arguments were rewired."""
    changed = 0
    for node in list(gm.graph.nodes):
        if base(node) in LAYOUT or node.op not in ("call_function", "output"):
            continue
        for x in node.all_input_nodes:
            new = _resolve(x) if base(x) in LAYOUT and _is_flat(x) and not is_weight(x) else None
            if new is not None and new is not x:
                node.replace_input_with(x, new)
                changed += 1
    sweep(gm)
    return changed


def _is_flat(x: fx.Node) -> bool:
    return rank(x) == 3 and isinstance(shape(x)[1], torch.SymInt) and isinstance(shape(x)[2], int)


def _resolve(x: fx.Node) -> fx.Node | None:
    """The chain that ends at flat x, without layout ops; None when it moves more than features within a token."""
    chain = [x]
    while base(chain[-1]) in LAYOUT:
        chain.append(chain[-1].args[0])
    root = chain.pop()
    if not _is_flat(root):
        return None
    features = _features(root, chain[::-1])
    if features is None:
        return None
    width = int(shape(root)[2])
    if torch.equal(features, torch.arange(width)):
        return root
    if base(root) == "linear" and is_weight(root.args[1]):
        return _linear_rows(root, x, features)
    if base(x) in ("slice", "index_select") and x.args[0] is root:
        return None  # already the simplest form
    if torch.equal(features, torch.arange(len(features)) + features[0]):
        first = int(features[0])
        return call(x, aten.slice.Tensor, root, 2, first, first + len(features))
    return call(x, aten.index_select.default, root, 2, hold(x, features, "order"))


def _features(root: fx.Node, chain: list[fx.Node]) -> Tensor | None:
    """i64 `[M]`: the feature of root that each feature of the chain's end is; None if tokens get mixed."""
    width = int(shape(root)[2])
    env: dict[fx.Node, Any] = {root: torch.arange(LENGTH * width).reshape(1, LENGTH, width)}
    for node in chain:
        args = fx.map_arg(node.args, lambda n: env[n] if n in env else concrete(n))
        try:
            env[node] = node.target(*args, **node.kwargs)  # type: ignore[operator]
        except (RuntimeError, TypeError, IndexError):
            return None
    end = env[chain[-1]]
    if end.dim() != 3 or end.shape[:2] != (1, LENGTH):
        return None
    token, feature = end[0] // width, end[0] % width
    kept = (token == torch.arange(LENGTH)[:, None]).all() and (feature == feature[:1]).all()
    return feature[0].clone() if bool(kept) else None


def concrete(node: fx.Node) -> Any:
    """The value of a size or constant when the sequence has LENGTH tokens."""
    v = node.meta.get("val")
    if isinstance(v, torch.SymInt):
        expression = v.node.expr
        return int(expression.subs(dict.fromkeys(expression.free_symbols, LENGTH)))
    return read_constant(node) if node.op == "get_attr" else v


def read_constant(node: fx.Node) -> Tensor:
    """The tensor that the graph holds for a get_attr node."""
    return attribute(node.graph.owning_module, str(node.target))


def _linear_rows(linear: fx.Node, x: fx.Node, features: Tensor) -> fx.Node:
    """linear over the rows `features` of its weight and bias."""
    operands = [a for a in linear.args[1:] if a is not None]
    adjacent = torch.equal(features, torch.arange(len(features)) + features[0])
    if adjacent:
        first = int(features[0])
        parts = [call(x, aten.slice.Tensor, w, 0, first, first + len(features)) for w in operands]
    else:
        index = hold(x, features, "rows")
        parts = [call(x, aten.index_select.default, w, 0, index) for w in operands]
    new = call(x, aten.linear.default, linear.args[0], *parts)
    new.meta["hf"] = linear.meta["hf"]
    return new
