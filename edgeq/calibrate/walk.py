"""All samples on their way through a graph, block after block, on a copy of it that nobody rewrites."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import xxhash
from torch import Tensor, fx

from edgeq.calibrate.blocks import Block, activations
from edgeq.calibrate.samples import Sample
from edgeq.errors import UsageError
from edgeq.frontend.expression import evaluate
from edgeq.ir.graph import is_weight, needed_for, op, value
from edgeq.ir.values import call, weight_value

Values = dict[fx.Node, Any]
MANY_ROWS = 4  # a table is read whole when more than a quarter of it is looked up


class Walk:
    """Where all samples are in the graph. Nothing is computed that the shown nodes do not need.

    Args:
        gm: the graph; later changes of it do not matter.
        weights: reads stored tensors by name.
        samples: inputs of the graph.
        shown: nodes whose values `run` returns.

    Attributes:
        carried: a sample's activations that what follows needs, contiguous; replaced to continue an earlier walk.

    Raises:
        UsageError: a sample lacks an input that is needed.
    """

    def __init__(self, gm: fx.GraphModule, weights: Any, samples: Sequence[Sample], shown: set[fx.Node]) -> None:
        self._weights, self._samples, self._shown = weights, samples, shown
        self._needed = needed_for(shown)
        _check_inputs(self._needed, samples)
        self._ends = _last_readers([node for node in activations(gm) if node in self._needed])
        self._module, self._twins = _copied(gm)
        self._origins = {twin: node for node, twin in self._twins.items()}
        self.carried: list[Values] = [{} for _ in samples]

    def run(self, block: Block) -> dict[fx.Node, list[Tensor]]:
        """Take every sample through the next block; values of its shown nodes, one a sample."""
        nodes = [node for node in block.nodes if node in self._needed]
        held: dict[fx.Node, Tensor] = {}
        shown: dict[fx.Node, list[Tensor]] = {node: [] for node in nodes if node in self._shown}
        with torch.no_grad():
            for sample, known in zip(self._samples, self.carried, strict=True):
                for node in nodes:
                    known[node] = self._value(node, sample, known, held)
                    if node in shown:
                        shown[node].append(known[node])
                    for read in self._ends.get(node, ()):
                        del known[read]
                known.update({node: _settled(kept) for node, kept in known.items()})
        return shown

    def needed_after(self, done: set[fx.Node]) -> set[fx.Node]:
        """Activations among `done` that other nodes still read."""
        return {read for reader, ended in self._ends.items() if reader not in done for read in ended if read in done}

    def digest(self) -> str:
        """xxh64 of the graph as it was at the start and of all samples."""
        digest = xxhash.xxh64()
        for node in self._module.graph.nodes:
            digest.update(f"{node.name} {node.op} {node.target} {node.args} {node.kwargs}\n".encode())
        for sample in self._samples:
            for name, tensor in [*sample.inputs.items(), ("", sample.counted)]:
                digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
                digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def _value(self, node: fx.Node, sample: Sample, known: Values, held: dict[fx.Node, Tensor]) -> Any:
        twin, find = self._twins[node], self._finder(sample, known, held)
        if op(twin) == "aten.embedding" and is_weight(twin.args[0]) and not is_weight(twin.args[1]):
            return self._embedding(twin.args[0], find(twin.args[1]), held)
        return call(twin, find)

    def _finder(self, sample: Sample, known: Values, held: dict[fx.Node, Tensor]) -> Callable[[fx.Node], Any]:
        """Twin -> its value in one sample: a weight, an input, or an activation."""

        def find(twin: fx.Node) -> Any:
            if is_weight(twin):
                return self._weight(twin, held)
            source = self._origins[twin]
            return sample.inputs[str(source.target)] if source.op == "placeholder" else known[source]

        return find

    def _weight(self, twin: fx.Node, held: dict[fx.Node, Tensor]) -> Tensor:
        if twin not in held:
            held[twin] = weight_value(twin, self._weights)
        return held[twin]

    def _embedding(self, table: fx.Node, ids: Tensor, held: dict[fx.Node, Tensor]) -> Tensor:
        """Only the rows that the tokens need: a table may be a quarter of the model."""
        distinct, where = ids.unique(return_inverse=True)
        if table in held or len(distinct) * MANY_ROWS > len(value(table)):
            return self._weight(table, held)[ids]
        rows = [evaluate(table, self._weights, slice(row, row + 1)) for row in distinct.tolist()]
        return torch.cat(rows)[where]


def _check_inputs(needed: set[fx.Node], samples: Sequence[Sample]) -> None:
    names = {str(node.target) for node in needed if node.op == "placeholder"}
    missing = sorted({name for sample in samples for name in names - set(sample.inputs)})
    if missing:
        raise UsageError(f"calibration samples lack what the graph takes: {', '.join(missing)}")


def _last_readers(nodes: list[fx.Node]) -> dict[fx.Node, list[fx.Node]]:
    """Node -> activations that nothing needs after it, itself included when nothing reads it."""
    last: dict[fx.Node, fx.Node] = {}
    for node in nodes:
        last[node] = node
        last.update({source: node for source in node.all_input_nodes if source in last})
    ends: dict[fx.Node, list[fx.Node]] = {}
    for read, reader in last.items():
        ends.setdefault(reader, []).append(read)
    return ends


def _copied(gm: fx.GraphModule) -> tuple[fx.GraphModule, dict[fx.Node, fx.Node]]:
    """A copy that shares the graph's constants, and the twin of every node."""
    graph = fx.Graph()
    twins: dict[fx.Node, fx.Node] = {}
    graph.graph_copy(gm.graph, twins)  # type: ignore[arg-type]
    return fx.GraphModule(gm, graph), twins


def _settled(kept: Any) -> Any:
    """Contiguous: a value that a journal gave back must be summed in the same order."""
    return kept.contiguous() if isinstance(kept, Tensor) else kept
