"""Lower token entries: walk the graph once, each op handled by the function its table row names."""

from __future__ import annotations

from collections.abc import Callable

from torch import fx

from edgeq.errors import UnsupportedError
from edgeq.ir.graph import arguments as attrs
from edgeq.ir.graph import calls, is_weight, op
from edgeq.ir.graph import hf_name as module
from edgeq.kernels import argmax as argmax_kernels
from edgeq.kernels.kv_blocks import BITS, ring_length
from edgeq.lower import attention, columns, cross, hadamard, linear, norm, rows
from edgeq.lower.node import width
from edgeq.lower.plan import Entry, Offset, Split
from edgeq.lower.scope import Scope
from edgeq.lower.shared import Shared
from edgeq.lower.values import Positions, Tokens
from edgeq.lower.weights import TILE, padded

Handler = Callable[[Scope, fx.Node], None]

HANDLERS: dict[str, Handler] = {
    "edgeq.qembedding": rows.lower_qembedding,
    "aten.embedding": rows.lower_embedding,
    "edgeq.rms_norm": norm.lower_norm,
    "aten.layer_norm": norm.lower_norm,
    "aten.add": rows.lower_add,
    "aten.mul": rows.lower_scale,
    "aten.div": rows.lower_scale,
    "aten.gelu": rows.lower_activation,
    "aten.silu": rows.lower_activation,
    "aten.relu": rows.lower_activation,
    "edgeq.quick_gelu": rows.lower_activation,
    "edgeq.gated": rows.lower_gated,
    "edgeq.hadamard": hadamard.lower_hadamard,
    "edgeq.columns": columns.lower_columns,
    "edgeq.cross_attention": cross.lower_cross_attention,
    "edgeq.last_row": rows.lower_last_row,
    "aten.slice": rows.lower_slice,
}
WITH_SITES = ("edgeq.qlinear", "edgeq.cached_attention", "edgeq.rope", "aten.tanh")


def check(graph: fx.Graph) -> None:
    """Refuse a graph with ops that have no lowering, listing all of them with their Hugging Face names."""
    known = {*HANDLERS, *WITH_SITES}
    bad = [n for n in graph.nodes if n.op == "call_function" and op(n) not in known and not is_weight(n)]
    if bad:
        lines = sorted({f"{module(n) or n.name}: {op(n)}" for n in bad})
        raise UnsupportedError("ops that have no kernel:\n  " + "\n  ".join(lines))


def lower_token_entries(gm: fx.GraphModule, shared: Shared, chunk: int) -> list[Entry]:
    """`decode` and, for a chunk of more than one row, `prefill`, over the same caches and logits."""
    check(gm.graph)
    shared.open_logits(width(_result(gm)))
    shared.chunk = chunk
    types = {attrs(node)["kv"] for node in calls(gm, "edgeq.cached_attention")}
    shared.ring = ring_length(chunk, shared.context) if types & BITS.keys() else 0
    entries = [_lower_entry("decode", gm, 1, shared)]
    return entries + ([_lower_entry("prefill", gm, chunk, shared)] if chunk > 1 else [])


def _lower_entry(name: str, gm: fx.GraphModule, max_rows: int, shared: Shared) -> Entry:
    """Lower the graph for up to `max_rows` rows over caches and logits that all entries share."""
    scope = Scope(max_rows, shared.context, shared.table, shared.logits, caches=shared.caches, state=shared.state)
    scope.chunk = shared.chunk
    scope.sites = attention.find_sites(gm.graph)
    by_attention = {site.node: site for site in scope.sites.values()}
    skip = {n for n in gm.graph.nodes if is_weight(n)}
    for node in gm.graph.nodes:
        if node not in skip and node not in scope.done:
            _lower(scope, node, by_attention)
            scope.done.add(node)
    _argmax(scope, gm, shared)
    crosses = bool(calls(gm, "edgeq.cross_attention"))
    return Entry(name, max_rows, scope.builder.regions, scope.buffers, after_run=crosses)


def _result(gm: fx.GraphModule) -> fx.Node:
    output = next(n for n in gm.graph.nodes if n.op == "output")
    return output.all_input_nodes[0]


def _lower(scope: Scope, node: fx.Node, by_attention: dict[fx.Node, attention.Site]) -> None:
    if node.op == "placeholder":
        scope.env[node] = {"input_ids": Tokens(), "position_ids": Positions()}.get(str(node.target))
    elif node in scope.sites:
        attention.lower_projections(scope, scope.sites[node])
    elif op(node) == "edgeq.qlinear":
        linear.lower_linear(scope, node)
    elif op(node) == "edgeq.cached_attention":
        attention.lower_attention(scope, by_attention[node], scope.view(node))
    elif node.op == "call_function":
        HANDLERS[op(node)](scope, node)


def _argmax(scope: Scope, gm: fx.GraphModule, shared: Shared) -> None:
    """Each thread's best of the share of the logits that it has just computed."""
    assert shared.best is not None
    logits = scope.view(_result(gm))
    split = Split("units", padded(shared.vocab) // TILE, 1, share=logits.buffer.name)
    index = Offset(shared.best, 64)
    kernel = argmax_kernels.argmax(shared.vocab, padded(shared.vocab))
    scope.call(kernel, (logits, shared.best, index), split, _result(gm))
