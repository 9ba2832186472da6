"""Making and replacing nodes: every new node is typed at once by running its op on the fake values of its arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

import edgeq.ir.ops  # noqa: F401  (registers the edgeq ops)
from edgeq.frontend.match import base, value

Rule = Callable[[fx.Node], bool]
IMPURE = {"copy_", "rand", "randn", "bernoulli"}


def fake_mode(graph: fx.Graph) -> FakeTensorMode:
    """The mode that the graph's fake values belong to."""
    for node in graph.nodes:
        v = value(node)
        if isinstance(v, FakeTensor):
            return v.fake_mode
    raise ValueError("a graph without fake values cannot be rewritten")


def call(like: fx.Node, target: Callable, *args: Any, **kwargs: Any) -> fx.Node:
    """A new typed call before `like`, belonging to the same Hugging Face module."""
    graph = like.graph
    with graph.inserting_before(like):
        node = graph.call_function(target, args, kwargs)
    node.meta["hf"] = like.meta.get("hf", "")
    values, options = fx.map_arg(args, value), fx.map_arg(kwargs, value)
    with fake_mode(graph), torch.no_grad():
        node.meta["val"] = SHAPES.get(target, target)(*values, **options)
    return node


def _like_first(x: torch.Tensor, *rest: Any, **options: Any) -> torch.Tensor:
    return torch.empty_like(x)


def _attended(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *rest: Any, **options: Any) -> torch.Tensor:
    return q.new_empty(*q.shape[:2], v.shape[2] // options["kv_heads"] * options["heads"])


def _patched(x: torch.Tensor, *, kernel: list, stride: list, padding: list, dilation: list) -> torch.Tensor:
    spans = [dilation[a] * (kernel[a] - 1) + 1 for a in (0, 1)]
    height, width = ((int(x.shape[a + 1]) + 2 * padding[a] - spans[a]) // stride[a] + 1 for a in (0, 1))
    return x.new_empty(x.shape[0], height, width, kernel[0] * kernel[1] * x.shape[3])


eq = torch.ops.edgeq
# Types of raised ops without walking through what they are composed of (which costs seconds a model).
SHAPES: dict[Any, Callable] = {
    eq.attention.default: _attended, eq.rope.default: _like_first, eq.rms_norm.default: _like_first,
    eq.gated.default: _like_first, eq.quick_gelu.default: _like_first,
    eq.im2col.default: _patched,
}


def replace(old: fx.Node, new: fx.Node) -> bool:
    """Send old's users to new and drop old; True, for rules that end with it."""
    old.replace_all_uses_with(new)
    old.graph.erase_node(old)
    return True


def apply(gm: fx.GraphModule, rules: Sequence[Rule], rounds: int = 4) -> int:
    """Try every rule on every node, in order, until nothing changes; returns the number of changes."""
    total = 0
    for _ in range(rounds):
        changed = sum(_first(rules, node) for node in list(gm.graph.nodes))
        total += changed
        sweep(gm)
        if not changed:
            break
    return total


def _first(rules: Sequence[Rule], node: fx.Node) -> int:
    for rule in rules:
        if not node._erased and node.op == "call_function" and rule(node):
            return 1
    return 0


def sweep(gm: fx.GraphModule) -> None:
    """Drop dead nodes and merge equal ones."""
    graph = gm.graph
    for node in reversed(list(graph.nodes)):
        if node.op in ("call_function", "get_attr") and not node.users and base(node) not in IMPURE:
            graph.erase_node(node)
    seen: dict[Any, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op not in ("call_function", "get_attr") or base(node) in IMPURE:
            continue
        first = seen.setdefault(_key(node), node)
        if first is not node:
            replace(node, first)


def _key(node: fx.Node) -> tuple:
    return (node.op, str(node.target), _arg_key(node.args), _arg_key(sorted(node.kwargs.items())))


def _arg_key(a: Any) -> Any:
    if isinstance(a, fx.Node):
        return ("%", a.name)
    if isinstance(a, (list, tuple)):
        return ("[", *(_arg_key(x) for x in a))
    return (type(a).__name__, str(a))
