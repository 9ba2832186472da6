"""The verifier: the dialect as a table, op -> rule. What is not in the table is not in the dialect."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import fx

from edgeq.errors import VerifyError
from edgeq.ir import rules, rules_attention, rules_linear
from edgeq.ir.glue import GLUE_OPS
from edgeq.ir.graph import WEIGHT_EXPRESSION_OPS, arguments, calls, inputs, is_weight, op, run_fake, site, value
from edgeq.ir.types import SymbolNames, show_type

TABLE: dict[str, rules.Rule] = {
    "aten.linear": rules_linear.linear,
    "aten.embedding": rules_linear.embedding,
    "aten.layer_norm": rules.layer_norm,
    "aten.add": rules.arithmetic,
    "aten.sub": rules.arithmetic,
    "aten.mul": rules.arithmetic,
    "aten.div": rules.arithmetic,
    "aten.tanh": rules.unary,
    "aten.gelu": rules.gelu,
    "aten.silu": rules.unary,
    "aten.relu": rules.unary,
    "aten.slice": rules.last_axis_slice,
    "aten.arange": rules.position,
    "aten.unsqueeze": rules.position,
    "aten.sym_size": rules.position,
    "edgeq.attention": rules_attention.attention,
    "edgeq.cached_attention": rules_attention.cached_attention,
    "edgeq.store_keys": rules_attention.store_keys,
    "edgeq.count_keys": rules_attention.count_keys,
    "edgeq.cross_attention": rules_attention.cross_attention,
    "edgeq.rms_norm": rules.rms_norm,
    "edgeq.rope": rules.rope,
    "edgeq.gated": rules.gated,
    "edgeq.hadamard": rules.hadamard,
    "edgeq.columns": rules.columns,
    "edgeq.grid": rules_linear.grid,
    "edgeq.quick_gelu": rules.unary,
    "edgeq.im2col": rules.im2col,
    "edgeq.last_row": rules.last_row,
    "edgeq.fake_quant": rules_linear.fake_quant,
    "edgeq.qlinear": rules_linear.qlinear,
    "edgeq.sign_heads": rules_attention.sign_heads,
    "edgeq.qembedding": rules_linear.qembedding,
}
GRID = "edgeq.grid"  # a weight expression with a rule of its own


def unsupported(gm: fx.GraphModule, static: bool | None = None) -> list[tuple[str, str]]:
    """(op, Hugging Face module) of every call outside the dialect, in graph order.

    static: whether the ops of static graphs count as of the dialect; None: if the graph is one.
    """
    glue = _glue(gm) if static is None else GLUE_OPS if static else frozenset()
    return [(op(node) or str(node.target), site(node)) for node in gm.graph.nodes if not _known(node, glue)]


def _glue(gm: fx.GraphModule) -> frozenset[str]:
    """Ops that this graph may hold under no rule: glue where it is static, nothing otherwise."""
    return GLUE_OPS if is_static(gm) else frozenset()


def is_static(gm: fx.GraphModule) -> bool:
    """True of a graph whose inputs have fixed sizes and that keeps no cache."""
    if calls(gm, "edgeq.cached_attention"):
        return False
    return all(type(size) is int for node in inputs(gm).values() for size in value(node).shape)


def _known(node: fx.Node, glue: frozenset[str]) -> bool:
    if node.op in ("placeholder", "get_attr", "output"):
        return True
    return op(node) in TABLE or op(node) in glue or (op(node) in WEIGHT_EXPRESSION_OPS and is_weight(node))


def verify(gm: fx.GraphModule, *, types: bool = False) -> None:
    """Check every node and the graph as a whole; with `types`, also that each type is what its op gives.

    Raises:
        VerifyError: lists every violation, one a line.
    """
    glue = _glue(gm)
    found = ((node, text) for node in gm.graph.nodes for text in _node(node, glue))
    problems = [f"{op(node) or node.op} at {site(node)}: {text}" for node, text in found]
    problems += list(_graph(gm))
    if types and not problems:
        problems = [f"{op(node)} at {site(node)}: {text}" for node in gm.graph.nodes for text in _type(node)]
    if problems:
        listed = "\n".join(f"  {text}" for text in problems)
        raise VerifyError(f"{len(problems)} violation(s) of the dialect:\n{listed}")


def _node(node: fx.Node, glue: frozenset[str]) -> Iterator[str]:
    if not _known(node, glue):
        yield f"{op(node) or node.target} is outside the dialect"
    elif node.op != "output" and "val" not in node.meta:
        yield f"%{node.name} has no type"
    elif node.op == "call_function" and (op(node) == GRID or not is_weight(node)) and op(node) not in glue:
        yield from TABLE[op(node)](node)


def _type(node: fx.Node) -> Iterator[str]:
    if node.op != "call_function":
        return
    names = SymbolNames()
    held, given = show_type(value(node), names), show_type(run_fake(node), names)
    if held != given:
        yield f"is typed {held}, gives {given}"


def _graph(gm: fx.GraphModule) -> Iterator[str]:
    cached = calls(gm, "edgeq.cached_attention")
    if not cached:
        return
    for node in calls(gm, "edgeq.attention"):
        yield f"edgeq.attention at {site(node)}: survives among cached attentions"
    yield from _frozen_positions(gm)
    starts = {arguments(node)["start"] for node in cached}
    if len(starts) > 1:
        yield f"cached attentions start at {len(starts)} different inputs"


def _frozen_positions(gm: fx.GraphModule) -> Iterator[str]:
    """What lies on the token axis of a cached graph but comes from no input would repeat the first step for ever."""
    tokens = inputs(gm).get("input_ids")
    if tokens is None:
        yield "a cached graph needs an input input_ids"
        return
    length = str(value(tokens).shape[1])
    if length.isdigit():
        return
    for node in gm.graph.nodes:
        sizes = rules.shape(node) if isinstance(node.meta.get("val"), torch.Tensor) else []
        if node.op == "call_function" and length in sizes and not any(n.op == "placeholder" for n in _data(node)):
            yield f"{op(node)} at {site(node)}: lies on the token axis but depends on no input"


def _data(node: fx.Node) -> Iterator[fx.Node]:
    """What the node's values come from: sizes of inputs are not values."""
    if op(node) == "aten.sym_size":
        return
    seen: set[fx.Node] = set()
    pending = [node]
    while pending:
        source = pending.pop()
        if source not in seen and op(source) != "aten.sym_size":
            seen.add(source)
            yield source
            pending += source.all_input_nodes


