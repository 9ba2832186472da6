"""Skeleton -> flat fx graph: plain inputs, one output (the logits), weights as get_attr nodes, every node typed."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import re
import warnings
from collections.abc import Iterator
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


class TraceError(Exception):
    """torch.export failed: the innermost Hugging Face module that was running, and why."""


def export_model(model: nn.Module, implementation: str, *, fixed: bool = False) -> fx.GraphModule:
    """Export with a symbolic sequence length (or a fixed one) and batch 1; parameters of `model` become fake.

    Returns a functional graph whose get_attr targets are parameter names, tied ones under one name.

    Raises:
        TraceError: the model does what cannot be traced.
    """
    mode = fake_parameters(model)
    inputs = example_inputs(model, mode)
    length = Dim("s", min=2, max=MAX_LENGTH)
    dims: dict[str, Any] = {name: {} if fixed else {1: length} for name in inputs}
    try:
        with torch.no_grad(), tracing(implementation), quiet():
            shapes = {**dims, "use_cache": None}
            program = functional(
                export(model, (), {**inputs, "use_cache": False}, dynamic_shapes=shapes, strict=False)
            )
    except Exception as error:  # torch.export raises many types
        raise TraceError(blame(error, model)) from error
    return flatten(program, model)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """torch prints graphs and warnings when a trace fails; what matters of it is in our own message."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def blame(error: Exception, model: nn.Module) -> str:
    """`model.layers.0.mixer: why`, from the modules on the traceback."""
    names = {id(module): name for name, module in model.named_modules()}
    where, trace = "", error.__traceback__
    while trace is not None:
        where = names.get(id(trace.tb_frame.f_locals.get("self")), where)
        trace = trace.tb_next
    reason = (str(error).strip().splitlines() or [""])[0]
    return f"{where or 'the model'}: {type(error).__name__}: {reason}"


def functional(program: ExportedProgram) -> ExportedProgram:
    """The program without writes in place."""
    # decomposes nothing: it only makes the graph functional
    return program.run_decompositions({}) if _writes_in_place(program) else program


def _writes_in_place(program: ExportedProgram) -> bool:
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if node.op == "call_function" and schema is not None and schema.is_mutable and not _harmless(node):
            return True
    return False


def _harmless(node: fx.Node) -> bool:
    """In-place forms that write nothing at inference."""
    name = node.target._schema.name
    return name in ("aten::dropout_", "aten::detach_") or (name == "aten::batch_norm" and node.args[5] is False)


def flatten(program: ExportedProgram, model: nn.Module) -> fx.GraphModule:
    """The exported program as a plain GraphModule(input_ids, position_ids) -> logits."""
    gm = program.module(check_guards=False)
    canonical = canonical_names(model)
    graph = fx.Graph()
    made: dict[fx.Node, fx.Node] = {}
    weights: dict[str, fx.Node] = {}
    for node in gm.graph.nodes:
        if node.op == "output":
            graph.output(made[_logits(node)])
        elif node.op == "call_module":
            continue  # export's guards
        elif node.op != "get_attr" and (node.op != "placeholder" or node.users):
            for weight in node.all_input_nodes:
                if weight.op == "get_attr":
                    made[weight] = weight_node(graph, weight, canonical, weights)
            made[node] = copy_node(graph, node, made)
    return with_weights(graph, gm)


def _logits(output: fx.Node) -> fx.Node:
    leaves = [x for x in torch.utils._pytree.tree_leaves(output.args) if isinstance(x, fx.Node)]
    return leaves[0]


def copy_node(graph: fx.Graph, node: fx.Node, made: dict[fx.Node, fx.Node], prefix: str = "") -> fx.Node:
    """A traced node in the flat graph; `prefix` is cut from its module's name."""
    new = graph.node_copy(node, lambda n: made[n])
    new.meta = {"val": node.meta.get("val"), "hf": f"{module_name(node)}.".removeprefix(prefix).rstrip(".")}
    return new


def weight_node(
    graph: fx.Graph, node: fx.Node, canonical: dict[str, str], weights: dict[str, fx.Node], prefix: str = ""
) -> fx.Node:
    """A get_attr where the weight is first used, under its canonical name, which lacks `prefix`."""
    target = str(node.target).removeprefix(prefix)
    target = canonical.get(target, target)
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


def with_weights(graph: fx.Graph, gm: fx.GraphModule, prefix: str = "") -> fx.GraphModule:
    """A GraphModule holding meta tensors for weights and the real values of computed buffers.

    gm: where the values are, under names that may begin with `prefix`.
    """
    root = nn.Module()
    mode = next(v.fake_mode for n in graph.nodes if hasattr(v := n.meta.get("val"), "fake_mode"))
    for node in graph.nodes:
        if node.op == "get_attr":
            tensor = _held(gm, node.target, prefix).detach()
            fake = isinstance(tensor, torch._subclasses.FakeTensor)
            set_tensor(root, node.target, torch.empty_like(tensor, device="meta") if fake else tensor)
            if node.meta.get("val") is None:
                node.meta["val"] = tensor if fake else mode.from_tensor(tensor, static_shapes=True)
    return fx.GraphModule(root, graph)


def _held(gm: fx.GraphModule, target: str, prefix: str) -> Any:
    """Export may leave constants that it made itself outside the model."""
    try:
        return attribute(gm, prefix + target)
    except AttributeError:
        return attribute(gm, target)
