"""What a graph is run on when a pass measures its activations: inputs by name, and which rows of tokens count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from edgeq.ir.graph import inputs, op, value


@dataclass(frozen=True, eq=False)
class Sample:
    """Inputs of one walk over a graph, by placeholder; `counted`: bool `[rows]`, which rows of its tokens are measured.

    Activations with another number of rows than `counted` (windows, patches, pooled rows) are measured whole.
    """

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

    Empty when the graph takes something else than tokens, their mask and their types. What it only writes (caches of
    cross-attention) needs no value.
    """
    names = {name: node for name, node in inputs(gm).items() if not _only_written(node)}
    if "input_ids" not in names or set(names) - {"input_ids", "attention_mask", "token_type_ids"}:
        return []
    batch, length = (int(size) for size in value(names["input_ids"]).shape)
    cut = [list(t) if len(t) <= length else [*t[: length - 1], t[-1]] for t in texts if len(t)]
    rows = [torch.tensor([*t, *[0] * (length - len(t))]) for t in cut]
    masks = [torch.arange(length) < len(t) for t in cut]
    starts = range(0, len(rows), batch)
    return [_encoder_sample(set(names), rows[i : i + batch], masks[i : i + batch], batch) for i in starts]


def _only_written(node: fx.Node) -> bool:
    return bool(node.users) and all(op(user) in ("edgeq.store_keys", "edgeq.count_keys") for user in node.users)


def image_sample(pixels: Tensor) -> Sample:
    """Pixels `[B, 3, H, W]` for a graph of images alone; every row counts."""
    return Sample({"pixel_values": pixels}, torch.ones(0, dtype=torch.bool))


def _encoder_sample(names: set[str], rows: list[Tensor], masks: list[Tensor], batch: int) -> Sample:
    ids, mask = (torch.stack([*part, *part[-1:] * (batch - len(part))]) for part in (rows, masks))
    given = {"input_ids": ids, "attention_mask": mask.long(), "token_type_ids": torch.zeros_like(ids)}
    return Sample({name: tensor for name, tensor in given.items() if name in names}, mask.flatten())
