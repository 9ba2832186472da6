"""A cluster as a graph of its own, with every argument in its place: what TVM's importer reads, and the cache's key."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from edgeq.ir.graph import arguments
from edgeq.lower.glue.cluster import Cluster


def isolate(cluster: Cluster) -> fx.Graph:
    """The cluster's nodes between placeholders and an output; nodes keep `meta["val"]` and `meta["hf"]`."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for i, node in enumerate(cluster.inputs):
        copies[node] = graph.placeholder(f"x{i}")
        copies[node].meta = dict(node.meta)
    for i, node in enumerate(cluster.nodes):
        args, kwargs = _spelled(node)
        mapped = fx.node.map_arg((args, kwargs), copies.__getitem__)
        copies[node] = graph.create_node("call_function", node.target, *mapped, name=f"n{i}")
        copies[node].meta = dict(node.meta)
    graph.output(tuple(copies[node] for node in cluster.outputs))
    return graph


def _spelled(node: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments as an export writes them: positional up to the last that differs from its default."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return node.args, dict(node.kwargs)
    named = arguments(node)
    schema = node.target._schema.arguments
    positional = [a for a in schema if not a.kwarg_only]
    while (
        positional and positional[-1].has_default_value() and named[positional[-1].name] == positional[-1].default_value
    ):
        positional.pop()
    kwargs = {a.name: named[a.name] for a in schema if a.kwarg_only and named[a.name] is not None}
    return tuple(named[a.name] for a in positional), kwargs


def text(graph: fx.Graph) -> str:
    """The graph with the types of its inputs: equal text, equal program."""
    types = [
        f"{n.name}: {n.meta['val'].dtype} {tuple(n.meta['val'].shape)}" for n in graph.nodes if n.op == "placeholder"
    ]
    return "\n".join([*types, *(f"{n.name} = {n.target} {n.args} {n.kwargs}" for n in graph.nodes)])
