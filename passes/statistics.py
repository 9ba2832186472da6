"""What a float graph's activations look like on sample tokens: weights are read op by op and dropped again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from edgeq.ir.graph import calls, inputs, is_weight, op, value
from edgeq.ir.values import Reads, call, last_uses, weight_value


@dataclass(frozen=True)
class Sample:
    """Inputs of one walk over a graph, by name; `counted`: bool `[rows]`, which rows of its tokens are measured."""

    inputs: dict[str, Tensor]
    counted: Tensor


def text_sample(tokens: Sequence[int]) -> Sample:
    """A text for an uncached language model.

    The first token is left out: its activations are of another size and have their own scale.
    """
    counted = torch.arange(len(tokens)) > 0
    return Sample({"input_ids": torch.tensor([list(tokens)]), "position_ids": torch.arange(len(tokens))[None]}, counted)


def encoder_samples(gm: fx.GraphModule, texts: Sequence[Sequence[int]]) -> list[Sample]:
    """Texts for a static graph of token ids, a batch at a time, cut to its length (the last token stays) and padded.

    Empty when the graph takes something else than tokens, their mask and their types.
    """
    names = inputs(gm)
    if "input_ids" not in names or set(names) - {"input_ids", "attention_mask", "token_type_ids"}:
        return []
    batch, length = (int(size) for size in value(names["input_ids"]).shape)
    cut = [list(t) if len(t) <= length else [*t[: length - 1], t[-1]] for t in texts if len(t)]
    rows = [torch.tensor([*t, *[0] * (length - len(t))]) for t in cut]
    masks = [torch.arange(length) < len(t) for t in cut]
    starts = range(0, len(rows), batch)
    return [_encoder_sample(set(names), rows[i : i + batch], masks[i : i + batch], batch) for i in starts]


def _encoder_sample(names: set[str], rows: list[Tensor], masks: list[Tensor], batch: int) -> Sample:
    ids, mask = (torch.stack([*part, *part[-1:] * (batch - len(part))]) for part in (rows, masks))
    given = {"input_ids": ids, "attention_mask": mask.long(), "token_type_ids": torch.zeros_like(ids)}
    return Sample({name: tensor for name, tensor in given.items() if name in names}, mask.flatten())


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
