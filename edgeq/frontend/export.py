"""Skeleton -> flat fx graph: plain inputs, one output (the logits), weights as get_attr nodes, every node typed."""

from __future__ import annotations

import inspect
import re
from typing import Any

import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import Dim, ExportedProgram, export

from edgeq.frontend.hooks import tracing
from edgeq.frontend.skeleton import canonical_names, fake_parameters

EXAMPLE_LENGTH = 8
MAX_LENGTH = 2**20


def example_inputs(model: nn.Module, mode: FakeTensorMode) -> dict[str, torch.Tensor]:
    """Fake `input_ids [1, S]`, and `position_ids [1, S]` where the model takes them."""
    takes = inspect.signature(model.forward).parameters
    names = ["input_ids"] + (["position_ids"] if "position_ids" in takes else [])
    with mode:
        return {name: torch.zeros(1, EXAMPLE_LENGTH, dtype=torch.long) for name in names}


def export_model(model: nn.Module, implementation: str) -> fx.GraphModule:
    """Export with a symbolic sequence length and batch 1; parameters of `model` become fake.

    Returns a functional graph whose get_attr targets are parameter names, tied ones under one name.
    """
    mode = fake_parameters(model)
    inputs = example_inputs(model, mode)
    length = Dim("s", min=2, max=MAX_LENGTH)
    dims: dict[str, Any] = {name: {1: length} for name in inputs}
    with torch.no_grad(), tracing(implementation):
        program = export(
            model, (), {**inputs, "use_cache": False}, dynamic_shapes={**dims, "use_cache": None}, strict=False
        )
        if _writes_in_place(program):
            program = program.run_decompositions({})  # decomposes nothing: it only makes the graph functional
    return _flatten(program, model)


def _writes_in_place(program: ExportedProgram) -> bool:
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if node.op == "call_function" and schema is not None and schema.is_mutable and not _drops_out(node):
            return True
    return False


def _drops_out(node: fx.Node) -> bool:
    """In-place forms that clean-up drops anyway: they do nothing at inference."""
    return node.target._schema.name in ("aten::dropout_", "aten::detach_")


def _flatten(program: ExportedProgram, model: nn.Module) -> fx.GraphModule:
    """The exported program as a plain GraphModule(input_ids, position_ids) -> logits."""
    gm = program.module(check_guards=False)
    canonical = canonical_names(model)
    graph, made = fx.Graph(), {}
    weights: dict[str, fx.Node] = {}
    for node in gm.graph.nodes:
        if node.op == "output":
            graph.output(made[_logits(node)])
        elif node.op == "call_module":
            continue  # export's guards
        elif node.op != "get_attr" and (node.op != "placeholder" or node.users):
            for weight in node.all_input_nodes:
                if weight.op == "get_attr":
                    made[weight] = _weight(graph, weight, canonical, weights)
            made[node] = _copy(graph, node, made)
    return _with_weights(graph, gm)


def _logits(output: fx.Node) -> fx.Node:
    leaves = [x for x in torch.utils._pytree.tree_leaves(output.args) if isinstance(x, fx.Node)]
    return leaves[0]


def _copy(graph: fx.Graph, node: fx.Node, made: dict[fx.Node, fx.Node]) -> fx.Node:
    new = graph.node_copy(node, lambda n: made[n])
    new.meta = {"val": node.meta.get("val"), "hf": module_name(node)}
    return new


def _weight(graph: fx.Graph, node: fx.Node, canonical: dict[str, str], weights: dict[str, fx.Node]) -> fx.Node:
    """A get_attr where the weight is first used, under its canonical name."""
    target = canonical.get(str(node.target), str(node.target))
    if target not in weights:
        weights[target] = graph.create_node("get_attr", target, (), {}, name=target.replace(".", "_"))
        weights[target].meta = {"val": node.meta.get("val"), "hf": ""}
    return weights[target]


def module_name(node: fx.Node) -> str:
    """The Hugging Face module that a traced node comes from, e.g. `model.layers.0.mlp`."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return ""
    path = str(list(stack.values())[-1][0])
    return re.sub(r"@\d+", "", path).removeprefix("L['self']").removeprefix(".")


def attribute(root: nn.Module, path: str) -> Any:
    """The attribute at a dotted path."""
    for name in path.split("."):
        root = getattr(root, name)
    return root


def set_tensor(root: nn.Module, path: str, tensor: torch.Tensor) -> None:
    """Register a tensor as a buffer at a dotted path, making modules on the way."""
    *folders, name = path.split(".")
    for folder in folders:
        if folder not in root._modules:
            root.add_module(folder, nn.Module())
        root = root._modules[folder]  # type: ignore[assignment]
    root.register_buffer(name, tensor)


def _with_weights(graph: fx.Graph, gm: fx.GraphModule) -> fx.GraphModule:
    """A GraphModule holding meta tensors for weights and the real values of computed buffers."""
    root = nn.Module()
    mode = next(v.fake_mode for n in graph.nodes if hasattr(v := n.meta.get("val"), "fake_mode"))
    for node in graph.nodes:
        if node.op == "get_attr":
            tensor = attribute(gm, node.target).detach()
            fake = isinstance(tensor, torch._subclasses.FakeTensor)
            set_tensor(root, node.target, torch.empty_like(tensor, device="meta") if fake else tensor)
            if node.meta.get("val") is None:
                node.meta["val"] = tensor if fake else mode.from_tensor(tensor)
    return fx.GraphModule(root, graph)
