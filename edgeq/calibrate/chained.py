"""Samples of entries that take what other entries compute: SAM's masks are measured on real images and prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from edgeq.calibrate.samples import Sample
from edgeq.calibrate.stream import Captured, stream
from edgeq.ir.graph import inputs, is_weight, output, value
from edgeq.ir.values import weight_value

if TYPE_CHECKING:
    from edgeq.frontend.entries import EntryGraph

Samples = Callable[[fx.GraphModule], list[Sample]]
Progress = Callable[[str, int, int], None]


class Chained:
    """Samples of every entry of a model: its own data, else what float copies of the other entries make of theirs.

    Args:
        entries: before any pass; static ones may make what others take, found by the names and shapes of their ports.
        weights: reads stored tensors by name.
        samples: what the calibration data holds for a graph, [] where nothing.
        progress: called with (stage, blocks done, blocks) while entries run.
    """

    def __init__(
        self, entries: Sequence[EntryGraph], weights: Any, samples: Samples, progress: Progress | None = None
    ) -> None:
        self._weights, self._own, self._progress = weights, samples, progress
        self._entries = [(entry, _copied(entry.gm)) for entry in entries if entry.kind == "static"]
        self._made: dict[str, list[dict[str, Tensor]]] = {}

    def samples(self, gm: fx.GraphModule) -> list[Sample]:
        """What passes measure on this graph; as many as the entry has that makes most, the others' by turns."""
        own = self._own(gm)
        if own:
            return own
        makers = self._makers(gm)
        columns = [[made[name] for made in self._run(*maker)] for name, maker in makers.items()]
        if not columns or not all(columns):
            return []
        count = max(map(len, columns))
        rows = zip(*(islice(cycle(column), count) for column in columns), strict=True)
        every = torch.ones(0, dtype=torch.bool)  # of another length than any activation: nothing is left out
        return [Sample(dict(zip(makers, row, strict=True)), every) for row in rows]

    def _makers(self, gm: fx.GraphModule) -> dict[str, tuple[EntryGraph, fx.GraphModule]]:
        """Input -> the first entry with an output of its name and shape; {} unless every input has one."""
        wanted = {name: tuple(value(node).shape) for name, node in inputs(gm).items()}
        found = {
            name: (entry, copy)
            for entry, copy in reversed(self._entries)
            for port in entry.outputs
            if (name := port.name) in wanted and tuple(port.shape) == wanted[name]
        }
        return {name: found[name] for name in wanted} if set(found) == set(wanted) else {}

    def _run(self, entry: EntryGraph, gm: fx.GraphModule) -> list[dict[str, Tensor]]:
        """Outputs by name of a float entry, a dict a sample."""
        if entry.name not in self._made:
            names = [port.name for port in entry.outputs]
            rows = zip(*(self._values(entry, gm)), strict=True)
            self._made[entry.name] = [dict(zip(names, row, strict=True)) for row in rows]
        return self._made[entry.name]

    def _values(self, entry: EntryGraph, gm: fx.GraphModule) -> list[list[Tensor]]:
        """For each output, one tensor a sample; what depends on no input (dense embeddings) is the same for all."""
        given = self._own(gm)
        nodes: list[fx.Node] = list(output(gm).args[0])  # type: ignore[arg-type]
        found = {node: [weight_value(node, self._weights)] * len(given) for node in nodes if is_weight(node)}
        if not given:
            return [[] for _ in nodes]

        def visit(block: object, captured: Captured) -> None:
            found.update({node: captured.values(node) for node in nodes if node in captured})

        wanted = set(nodes)
        stage = f"run {entry.name} for samples"
        stream(gm, self._weights, given, wanted.__contains__, visit, progress=self._progress, stage=stage)
        return [found[node] for node in nodes]


def _copied(gm: fx.GraphModule) -> fx.GraphModule:
    """The graph as it is now, over the same constants."""
    graph = fx.Graph()
    result = graph.graph_copy(gm.graph, {}, return_output_node=True)
    assert isinstance(result, tuple)
    made, old = result
    graph.output(made).meta.update(old.meta)
    return fx.GraphModule(gm, graph)
