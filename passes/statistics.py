"""What a float graph's activations look like on sample tokens: weights are read op by op and dropped again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from edgeq.calibrate.samples import Sample, encoder_samples, text_sample
from edgeq.ir.graph import calls, is_weight, op
from edgeq.ir.values import Reads, call, last_uses, weight_value

__all__ = ["Sample", "channel_absmax", "encoder_samples", "text_sample"]


def channel_absmax(gm: fx.GraphModule, weights: Reads, samples: Sequence[Sample]) -> dict[fx.Node, Tensor]:
    """Node that a linear reads -> largest magnitude of each channel over all samples, f32 `[K]`."""
    found: dict[fx.Node, Tensor] = {}
    for sample in samples:
        for node, largest in _walk(gm, weights, sample).items():
            found[node] = torch.maximum(found[node], largest) if node in found else largest
    return found


def _walk(gm: fx.GraphModule, weights: Reads, sample: Sample) -> dict[fx.Node, Tensor]:
    wanted = {node.args[0] for node in calls(gm, "aten.linear")}
    given = sample.inputs
    largest: dict[fx.Node, Tensor] = {}
    known: dict[fx.Node, Any] = {}
    ends = last_uses(gm.graph)
    with torch.no_grad():
        for node in gm.graph.nodes:
            if len(largest) == len(wanted):
                break  # what follows, the output head, need not be computed
            if is_weight(node):
                continue
            known[node] = _value(node, known, given, weights)
            if node in wanted:
                rows = known[node].flatten(0, -2)
                rows = rows[sample.counted] if len(rows) == len(sample.counted) else rows
                largest[node] = rows.abs().amax(0).float()
            for used in ends.get(node, ()):
                known.pop(used, None)
    return largest


def _value(node: fx.Node, known: dict[fx.Node, Any], given: dict[str, Tensor], weights: Reads) -> Any:
    if node.op == "placeholder":
        return given[str(node.target)]
    if op(node) == "aten.embedding" and node.args[0].op == "get_attr":
        return _embedding_rows(str(node.args[0].target), known[node.args[1]], weights)
    return call(node, lambda source: known[source] if source in known else weight_value(source, weights))


def _embedding_rows(name: str, ids: Tensor, weights: Reads) -> Tensor:
    """Only the rows that the tokens need: a table may be a quarter of the model."""
    distinct, where = ids.unique(return_inverse=True)
    rows = torch.cat([weights.read(name, slice(row, row + 1)) for row in distinct.tolist()])
    return rows[where]
