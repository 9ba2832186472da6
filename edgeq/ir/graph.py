"""Reading and rewriting `torch.fx` graphs of the dialect: op names, arguments by name, typed insertion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload

import edgeq.ir.ops  # noqa: F401  (registers the edgeq:: ops)
from edgeq.ir.glue import GLUE_OPS

WEIGHT_EXPRESSION_OPS = GLUE_OPS | {"aten.embedding", "edgeq.hadamard", "edgeq.grid"}


def op(node: object) -> str:
    """`"aten.linear"`, `"edgeq.rms_norm"`, whatever the overload; `""` when the node calls no torch op."""
    if isinstance(node, fx.Node) and isinstance(node.target, OpOverload):
        return str(node.target._schema.name).replace("::", ".")
    return ""


def resolve(name: str) -> OpOverload:
    """`"aten.linear"` or `"aten.add.Tensor"` -> the op; AttributeError when torch has none of that name."""
    namespace, packet, *overload = name.split(".")
    return getattr(getattr(getattr(torch.ops, namespace), packet), overload[0] if overload else "default")


def arguments(node: fx.Node) -> dict[str, Any]:
    """Arguments by schema name, defaults filled in; empty when the node calls no torch op."""
    if not isinstance(node.target, OpOverload):
        return {}
    named: dict[str, Any] = {}
    for position, argument in enumerate(node.target._schema.arguments):
        if position < len(node.args) and not argument.kwarg_only:
            named[argument.name] = node.args[position]
        else:
            named[argument.name] = node.kwargs.get(argument.name, argument.default_value)
    return named


def value(node: fx.Node) -> Any:
    """The fake tensor (or symbolic integer) that types the node."""
    return node.meta["val"]


def hf_name(node: fx.Node) -> str:
    """Hugging Face module that the node came from, `""` if none."""
    return node.meta.get("hf", "")


def site(node: fx.Node) -> str:
    """What to call the node in a report: its Hugging Face module, else its own name."""
    return hf_name(node) or node.name


def is_weight(node: object) -> bool:
    """True of a stored tensor and of a small expression over stored tensors."""
    if not isinstance(node, fx.Node):
        return False
    if node.op == "get_attr":
        return True
    if op(node) not in WEIGHT_EXPRESSION_OPS or not node.all_input_nodes:
        return False
    return all(is_weight(source) for source in node.all_input_nodes)


def calls(gm: fx.GraphModule, *names: str) -> list[fx.Node]:
    """Nodes that call one of the ops, in order: `calls(gm, "aten.linear")`."""
    return [node for node in gm.graph.nodes if op(node) in names]


def inputs(gm: fx.GraphModule) -> dict[str, fx.Node]:
    """Placeholders by input name, in order."""
    return {str(node.target): node for node in gm.graph.nodes if node.op == "placeholder"}


def output(gm: fx.GraphModule) -> fx.Node:
    """The output node."""
    return next(node for node in reversed(gm.graph.nodes) if node.op == "output")


def needed_for(wanted: Iterable[fx.Node]) -> set[fx.Node]:
    """What those activations are computed from, themselves and placeholders included, weights not."""
    needed: set[fx.Node] = set()
    todo = list(wanted)
    while todo:
        node = todo.pop()
        if node not in needed and not is_weight(node):
            needed.add(node)
            todo += node.all_input_nodes
    return needed


def insert(graph: fx.Graph, name: str, *args: Any, like: fx.Node | None = None, **kwargs: Any) -> fx.Node:
    """A typed call at the graph's insertion point, trailing None arguments cut; `like` gives the Hugging Face name."""
    while args and args[-1] is None:
        args = args[:-1]
    node = graph.create_node("call_function", resolve(name), args, kwargs, name=name.split(".")[1])
    node.meta["val"] = run_fake(node)
    node.meta["hf"] = "" if like is None else hf_name(like)
    return node


def run_fake(node: fx.Node) -> Any:
    """The type of a call, by running it on its arguments' fake tensors."""
    from edgeq.ir.types import fake_mode

    args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), value)
    with fake_mode(node.graph) as _, torch.no_grad():
        return node.target(*args, **kwargs)  # type: ignore[operator]


def replace(old: fx.Node, new: fx.Node) -> None:
    """Give old's users the new node and erase old."""
    old.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)
    old.graph.erase_node(old)


def writes(node: fx.Node) -> bool:
    """True of a call that writes an argument in place."""
    return isinstance(node.target, OpOverload) and node.target._schema.is_mutable


def remove_unused(gm: fx.GraphModule) -> None:
    """Erase calls and weights that nothing uses (inputs stay, and calls that write in place)."""
    for node in reversed(list(gm.graph.nodes)):
        if node.op in ("call_function", "get_attr") and not node.users and not writes(node):
            gm.graph.erase_node(node)
