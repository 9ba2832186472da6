"""A two-layer language model as a graph, with seeded weights that count how often they are read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch
from torch import Tensor, fx

from edgeq.calibrate.blocks import activations
from edgeq.calibrate.samples import Sample, text_sample
from edgeq.ir.graph import value
from edgeq.ir.text import parse

GRAPHS = Path(__file__).parents[1] / "passes" / "graphs"


class Weights:
    """Random weights of a graph by name; `reads` counts them, `rows` those read by rows."""

    def __init__(self, gm: fx.GraphModule) -> None:
        noise = torch.Generator().manual_seed(0)
        leaves = [node for node in gm.graph.nodes if node.op == "get_attr"]
        self.tensors = {str(n.target): torch.randn([int(s) for s in value(n).shape], generator=noise) for n in leaves}
        self.reads: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()

    def read(self, name: str, rows: slice | None = None) -> Tensor:
        (self.reads if rows is None else self.rows)[name] += 1
        return self.tensors[name] if rows is None else self.tensors[name][rows]


def two_layers() -> fx.GraphModule:
    """The one-layer graph of tests/passes, its layer twice over the same weights; the head is the embedding."""
    gm = parse((GRAPHS / "llama.eqir").read_text())
    nodes = activations(gm)
    names = [node.name for node in nodes]
    first, last = names.index("rms_norm"), names.index("add_1")
    embedding, end = nodes[0], nodes[last]
    twins: dict[fx.Node, fx.Node] = {embedding: end}
    with gm.graph.inserting_before(nodes[last + 1]):
        for node in nodes[first : last + 1]:
            twins[node] = gm.graph.node_copy(node, lambda source: twins.get(source, source))
    nodes[last + 1].replace_input_with(end, twins[end])
    gm.recompile()
    return gm


def samples(count: int = 3, length: int = 20) -> list[Sample]:
    noise = torch.Generator().manual_seed(1)
    return [text_sample(torch.randint(0, 100, (length,), generator=noise).tolist()) for _ in range(count)]
