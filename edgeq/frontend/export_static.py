"""One static entry -> flat fx graph: exact shapes, named inputs and outputs, weights as get_attr nodes, all typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram, export

from edgeq.frontend.export import TraceError, blame, copy_node, functional, quiet, weight_node, with_weights
from edgeq.frontend.hooks import tracing
from edgeq.frontend.interfaces import Interface
from edgeq.frontend.rewrite import sweep
from edgeq.frontend.skeleton import canonical_names, fake_parameters

PREFIX = "hf."  # of every tensor's and module's name while the model sits in `_Entry`


class _Entry(nn.Module):
    """The traced function: positional inputs, a tuple of outputs; `report` is told the outputs' names.

    They are not kept here: export puts a module's attributes back as they were.
    """

    def __init__(self, model: nn.Module, interface: Interface, report: Callable[[list[str]], None]) -> None:
        super().__init__()
        self.hf = model
        self.interface = interface
        self.report = report

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        found = self.interface.run(self.hf, dict(zip(self.interface.inputs, given, strict=True)))
        self.report(list(found))
        return tuple(found.values())


def export_static(model: nn.Module, interface: Interface, implementation: str) -> tuple[fx.GraphModule, list[str]]:
    """The graph of one entry, not raised, and its outputs' names; what checkpoints hold of `model` becomes fake.

    Placeholders are the inputs that matter, under their names; the output node holds a tuple.

    Raises:
        TraceError: the model does what cannot be traced.
    """
    mode = fake_parameters(model)
    reports: list[list[str]] = []
    entry = _Entry(model, interface, reports.append)
    with mode:
        given = tuple(torch.ones(shape, dtype=dtype) for shape, dtype in interface.inputs.values())
    try:
        with torch.no_grad(), tracing(implementation), quiet():
            program = functional(export(entry, given, strict=False))
    except Exception as error:  # torch.export raises many types
        raise TraceError(blame(error, model)) from error
    return _flatten(program, model, list(interface.inputs)), reports[-1]


def _flatten(program: ExportedProgram, model: nn.Module, names: list[str]) -> fx.GraphModule:
    """The exported program as a plain GraphModule(*inputs) -> tuple."""
    gm = program.module(check_guards=False)
    canonical = canonical_names(model)
    graph = fx.Graph()
    made: dict[fx.Node, fx.Node] = {}
    weights: dict[str, fx.Node] = {}
    given = iter(names)
    for node in gm.graph.nodes:
        if node.op == "placeholder":
            made[node] = _placeholder(graph, node, next(given))
        elif node.op == "output":
            leaves = torch.utils._pytree.tree_leaves(node.args)
            for weight in leaves:
                _weights_of(weight, graph, canonical, weights, made)
            graph.output(tuple(made[leaf] for leaf in leaves))
        elif node.op == "call_function":
            for weight in node.all_input_nodes:
                _weights_of(weight, graph, canonical, weights, made)
            made[node] = copy_node(graph, node, made, PREFIX)
    flat = with_weights(graph, gm, PREFIX)
    sweep(flat)
    _drop_unused_inputs(flat)
    flat.recompile()
    return flat


def _placeholder(graph: fx.Graph, node: fx.Node, name: str) -> fx.Node:
    new = graph.placeholder(name)
    new.meta = {"val": node.meta["val"], "hf": ""}
    return new


def _weights_of(node: Any, graph: fx.Graph, canonical: dict, weights: dict, made: dict[fx.Node, fx.Node]) -> None:
    if node.op == "get_attr":
        made[node] = weight_node(graph, node, canonical, weights, PREFIX)


def _drop_unused_inputs(gm: fx.GraphModule) -> None:
    for node in list(gm.graph.nodes):
        if node.op == "placeholder" and not node.users:
            gm.graph.erase_node(node)
