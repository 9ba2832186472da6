"""Tiny models of the zoo run in float64, before and after passes: an equivalence holds to 1e-9, or it is none."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import entry_zoo
import frontend_zoo
import static_zoo
import torch
from torch import Tensor, fx

from edgeq.frontend.entries import Shapes, load_entries
from edgeq.frontend.export import attribute
from edgeq.frontend.graph import raised_graph
from edgeq.frontend.skeleton import stored_tensors
from edgeq.ir.graph import calls, inputs, op, value
from edgeq.ir.values import call
from edgeq.ir.verify import verify
from edgeq.passes.pass_ import Context, Report
from edgeq.passes.pipeline import parse_pipeline, run_pipeline

DECODERS = ("opt", "llama", "qwen2", "qwen3", "gpt2")
STATIC = ("bert", "vit", "sam", "detr")
NAMES = (*DECODERS, *STATIC, "bart")
TOLERANCE = 1e-9  # of the largest output
LENGTH = 19


@dataclass
class Model:
    """Graphs of one model over shared tensors, with inputs for each; `outputs()` runs them all in float64.

    tensors: f64 by Hugging Face name. memory: caches that graphs share by name. given: inputs by graph name.
    """

    graphs: dict[str, fx.GraphModule]
    tensors: dict[str, Tensor]
    given: dict[str, dict[str, Tensor]]
    memory: dict[str, Tensor] = field(default_factory=dict)

    def read(self, name: str, rows: slice | None = None) -> Tensor:
        """As checkpoints are read: float32."""
        tensor = self.tensors[name]
        tensor = tensor.float() if tensor.is_floating_point() else tensor
        return tensor if rows is None else tensor[rows]

    def samples(self, gm: fx.GraphModule) -> list[Any]:
        from edgeq.calibrate.samples import Sample, text_sample
        """The inputs of a graph as calibration samples; memory as the last `outputs()` left it."""
        name = next(name for name, own in self.graphs.items() if own is gm)
        given = {key: t for key, t in {**self.memory, **self.given[name]}.items() if key in inputs(gm)}
        given = {key: t.float() if t.is_floating_point() else t for key, t in given.items()}
        if "position_ids" in given:
            return [text_sample(given["input_ids"][0].tolist())]
        mask = given.get("attention_mask")
        rows = 1 if mask is None else int(mask.numel())
        return [Sample(given, torch.ones(rows, dtype=torch.bool) if mask is None else mask.flatten().bool())]

    def outputs(self) -> list[Tensor]:
        """Every output of every graph, in order, memory written on the way included."""
        self.memory = {}
        found = [out for name, gm in self.graphs.items() for out in self._run(gm, self.given[name])]
        return found + list(self.memory.values())

    def _run(self, gm: fx.GraphModule, given: dict[str, Tensor]) -> list[Tensor]:
        known: dict[fx.Node, Any] = {}
        with torch.no_grad():
            for node in gm.graph.nodes:
                if node.op == "output":
                    return [t for t in _flat(fx.map_arg(node.args[0], known.__getitem__))]
                known[node] = self._value(node, known, given)
        raise AssertionError("no output")

    def _value(self, node: fx.Node, known: dict[fx.Node, Any], given: dict[str, Tensor]) -> Any:
        if node.op == "placeholder":
            return _double(given[str(node.target)]) if node.target in given else self._cache(node)
        if node.op == "get_attr":
            held = attribute(node.graph.owning_module, str(node.target))
            return _double(self.tensors[str(node.target)] if held.device.type == "meta" else held)
        return call(node, known.__getitem__)

    def _cache(self, node: fx.Node) -> Tensor:
        shape, dtype = value(node).shape, value(node).dtype
        zeros = torch.zeros([int(s) for s in shape], dtype=torch.float64 if dtype.is_floating_point else dtype)
        return self.memory.setdefault(str(node.target), zeros)


def build(name: str) -> Model:
    """A model of its own to rewrite; see `_made`."""
    made = _made(name)
    graphs = {entry: copy.deepcopy(gm) for entry, gm in made.graphs.items()}
    return Model(graphs, made.tensors, made.given)


@functools.cache
def _made(name: str) -> Model:
    """A seeded tiny model of the zoo, its norm weights with outlier channels so that passes have something to do."""
    torch.set_num_threads(1)
    model = _decoder(name) if name in frontend_zoo.ZOO else _bart(name) if name in ("bart", "t5") else _static(name)
    noise = torch.Generator().manual_seed(5)
    for key, tensor in model.tensors.items():
        if tensor.dim() == 1 and "norm" in key.lower() and key.endswith("weight"):
            tensor[torch.randperm(len(tensor), generator=noise)[:2]] *= 20
    return model


def float64_equal(name: str, pipeline: str) -> list[Report]:
    """Assert that the passes leave every output of the model equal to 1e-9 relative; their reports."""
    model = build(name)
    before = model.outputs()
    reports = run_passes(model, pipeline)
    assert_equal(before, model.outputs())
    return reports


def run_passes(model: Model, pipeline: str) -> list[Report]:
    """The pipeline over every graph of the model with shared decisions, as the compiler runs it."""
    context = Context(weights=model, samples=model.samples)
    return [report for gm in model.graphs.values() for report in run_pipeline(gm, parse_pipeline(pipeline), context)]


def assert_equal(before: list[Tensor], after: list[Tensor]) -> None:
    for one, other in zip(before, after, strict=True):
        if one.is_floating_point():
            error = float((one - other).abs().max() / one.abs().max().clamp(min=1e-30))
            assert error <= TOLERANCE, error
        else:
            assert torch.equal(one, other)


def fold_everywhere(model: Model, act: Callable[[fx.GraphModule], None]) -> None:
    """Rewrite every graph, which must stay valid."""
    for gm in model.graphs.values():
        act(gm)
        gm.graph.lint()
        gm.recompile()
        verify(gm, types=True)


def _decoder(name: str) -> Model:
    eager = frontend_zoo.model(name)
    ids = torch.randint(3, 97, (1, LENGTH), generator=torch.Generator().manual_seed(3))
    given = {"input_ids": ids, "position_ids": torch.arange(LENGTH)[None]}
    return Model({"decode": raised_graph(frontend_zoo.config(name))}, _tensors(eager), {"decode": given})


def _static(name: str) -> Model:
    eager = entry_zoo.model(name)
    source: Any = SimpleNamespace(config=entry_zoo.config(name), assets={}, extras={})
    entries = load_entries(source, Shapes(lengths=(9,), points=2))
    given = {entry.name: entry_zoo.example(entry) for entry in entries}
    return Model({entry.name: entry.gm for entry in entries}, _tensors(eager), given)


def _bart(name: str) -> Model:
    eager, recipe = static_zoo.model(name), static_zoo.ZOO[name]
    source: Any = SimpleNamespace(config=recipe.config(), assets={}, extras={})
    entries = load_entries(source, Shapes(lengths=(9,)))
    for entry in entries:
        for node in calls(entry.gm, "edgeq.store_keys", "edgeq.cross_attention"):
            node.kwargs = {**node.kwargs, "kv": "f32"}  # caches in half precision would hide what is compared
    ids = torch.randint(3, 97, (1, LENGTH), generator=torch.Generator().manual_seed(3))
    texts = {"input_ids": ids, "position_ids": torch.arange(LENGTH)[None]}
    given = {entry.name: texts if entry.kind == "token" else entry_zoo.example(entry) for entry in entries}
    return Model({entry.name: entry.gm for entry in entries}, _tensors(eager), given)


def _tensors(eager: torch.nn.Module) -> dict[str, Tensor]:
    return {name: _double(tensor.detach().clone()) for name, tensor in stored_tensors(eager).items()}


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _flat(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [t for part in value or () for t in _flat(part)]


__all__ = ["NAMES", "Model", "assert_equal", "build", "float64_equal", "fold_everywhere", "op", "run_passes"]
