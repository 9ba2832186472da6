"""Graph -> plan: both entries lowered, buffers placed in one arena."""

from __future__ import annotations

from torch import fx

from edgeq.frontend.weights import Weights
from edgeq.lower.arena import place, stack
from edgeq.lower.entry import Shared, check, lower_entry
from edgeq.lower.plan import Entry, Plan
from edgeq.lower.weights import WeightTable


def lower(gm: fx.GraphModule, weights: Weights, context: int, chunk: int) -> tuple[Plan, WeightTable]:
    """Lower a cached, quantized decoder graph for decode (1 row) and prefill (up to `chunk` rows).

    Raises UnsupportedError listing everything that has no kernel.
    """
    check(gm.graph)
    table = WeightTable(weights)
    shared = Shared(gm, context, table)
    entries = [lower_entry("decode", gm, 1, shared), lower_entry("prefill", gm, chunk, shared)]
    return _place(entries, shared), table


def _place(entries: list[Entry], shared: Shared) -> Plan:
    """Caches and logits live for ever; then the entries' buffers, over each other since entries never run together."""
    caches = list(shared.caches.values())
    start = stack([shared.logits, *caches], 0)
    private = stack([shared.best], 0)
    arena = max(place([b for b in e.buffers if not b.private], start) for e in entries)
    own = max(place([b for b in e.buffers if b.private], private) for e in entries)
    return Plan(entries, arena, own, shared.vocab, shared.context, shared.logits, shared.best, caches)
