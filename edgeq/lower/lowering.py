"""Graphs -> plan: every entry lowered, buffers placed in one arena."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import fx

from edgeq.frontend.weights import Weights
from edgeq.lower.arena import place, stack
from edgeq.lower.entry import lower_token_entries
from edgeq.lower.plan import Entry, Plan
from edgeq.lower.shared import Shared
from edgeq.lower.static import lower_static_entry
from edgeq.lower.values import Buffer
from edgeq.lower.weights import WeightTable

if TYPE_CHECKING:
    from edgeq.frontend.entries import EntryGraph


def lower(gm: fx.GraphModule, weights: Weights, context: int, chunk: int) -> tuple[Plan, WeightTable]:
    """Lower a cached, quantized decoder graph for decode (1 row) and prefill (up to `chunk` rows).

    Raises UnsupportedError listing everything that has no kernel.
    """
    shared = Shared(context, WeightTable(weights))
    return _place(lower_token_entries(gm, shared, chunk), shared), shared.table


def lower_entries(
    graphs: list[EntryGraph], weights: Weights, context: int, chunk: int
) -> tuple[Plan, WeightTable]:
    """Lower every entry's graph, quantized and, where it takes tokens, cached; in the order given.

    Raises UnsupportedError listing everything that has no kernel.
    """
    decodes = any(graph.kind == "token" for graph in graphs)
    table = WeightTable(weights, "minmax" if decodes else "mse")  # encoders are small: a search costs seconds
    shared, entries = Shared(context, table), []
    for graph in graphs:
        if graph.kind == "token":
            entries += lower_token_entries(graph.gm, shared, chunk)
        else:
            entries.append(lower_static_entry(graph, shared))
    return _place(entries, shared), shared.table


def _place(entries: list[Entry], shared: Shared) -> Plan:
    """State lives for ever; then the entries' buffers, over each other since entries never run together."""
    lasting = [b for e in entries for b in e.buffers if b.pinned]
    logits = [shared.logits] if shared.logits else []
    start = stack([*logits, *shared.caches.values(), *shared.state.values(), *_once(lasting)], 0)
    private = stack([shared.best] if shared.best else [], 0)
    arena = max(place([b for b in e.buffers if not b.private and not b.pinned], start) for e in entries)
    own = max(place([b for b in e.buffers if b.private], private) for e in entries)
    context = shared.context if shared.vocab else 0
    caches = list(shared.caches.values())
    return Plan(entries, arena, own, shared.vocab, context, shared.logits, shared.best, caches, shared.ring)


def _once(buffers: list[Buffer]) -> list[Buffer]:
    return list({id(b): b for b in buffers}.values())
