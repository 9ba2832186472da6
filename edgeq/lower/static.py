"""Lower a static entry: every value is made when something needs it, by our kernels, by glue, or as a view."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING

from torch import fx

from edgeq.errors import UnsupportedError
from edgeq.ir.graph import arguments, is_weight, op, output
from edgeq.ir.graph import hf_name as module
from edgeq.ir.graph import inputs as graph_inputs
from edgeq.lower import attend, columns, cross, hadamard, im2col, linear, norm, rows, signs
from edgeq.lower.claims import claim
from edgeq.lower.node import only_user, shape
from edgeq.lower.plan import Entry, Tensor
from edgeq.lower.scope import Scope
from edgeq.lower.shared import Shared
from edgeq.lower.values import Buffer, View
from edgeq.lower.weights import padded

if TYPE_CHECKING:
    from edgeq.frontend.entries import EntryGraph
    from edgeq.lower.glue.cluster import Cluster

HANDLERS: dict[str, Callable[[Scope, fx.Node], None]] = {
    "edgeq.qlinear": linear.lower_linear,
    "edgeq.qembedding": rows.lower_qembedding,
    "edgeq.rms_norm": norm.lower_norm,
    "aten.layer_norm": norm.lower_norm,
    "edgeq.attention": attend.lower_attention,
    "edgeq.im2col": im2col.lower_im2col,
    "edgeq.sign_heads": signs.lower_sign_heads,
    "edgeq.store_keys": cross.lower_store_keys,
    "edgeq.count_keys": cross.lower_count_keys,
    "edgeq.gated": rows.lower_gated,
    "edgeq.hadamard": hadamard.lower_hadamard,
    "edgeq.columns": columns.lower_columns,
    "aten.add": rows.lower_add,
    "aten.slice": rows.lower_slice,
    "aten.gelu": rows.lower_activation,
    "aten.silu": rows.lower_activation,
    "aten.relu": rows.lower_activation,
    "edgeq.quick_gelu": rows.lower_activation,
}


def lower_static_entry(entry: EntryGraph, shared: Shared) -> Entry:
    """Lower one static graph; tensors that earlier entries have under the same name, shape and type are shared."""
    scope = Scope(0, shared.context, shared.table, None, caches=shared.caches, state=shared.state)
    given = graph_inputs(entry.gm)
    inputs = [_bind_input(scope, shared, given[port.name]) for port in entry.inputs]
    scope.done |= {node for node in given.values() if node not in scope.env}  # memory that ops name themselves
    _Walk(scope, entry.gm.graph).run()
    results = zip(entry.outputs, output(entry.gm).args[0], strict=True)
    outputs = [_bind_output(scope, shared, port.name, node) for port, node in results]
    buffers = list(dict.fromkeys([*scope.buffers, *(t.view.buffer for t in (*inputs, *outputs))]))
    facts = {"base": entry.base, "batch": entry.batch, "length": entry.length}
    return Entry(entry.name, 0, scope.builder.regions, buffers, inputs, outputs, facts=facts)


class _Walk:
    """Makes values in graph order, what they need first; each cluster of glue when one of its values is needed."""

    def __init__(self, scope: Scope, graph: fx.Graph) -> None:
        from edgeq.lower.glue.cluster import clusters

        self.scope, self.graph = scope, graph
        self.ours = claim(graph)
        self.begun: set[fx.Node] = set()  # linears that wait for their residual: two may be added to each other
        found = clusters(graph, lambda n: n.op == "call_function" and n not in self.ours and not is_weight(n))
        self.cluster_of: dict[fx.Node, Cluster] = {n: c for c in found for n in c.nodes}

    def run(self) -> None:
        for node in self.graph.nodes:
            if node in self.ours or node in self.cluster_of:
                self.need(node)

    def need(self, node: fx.Node) -> None:
        if node in self.scope.env or node in self.scope.done or is_weight(node):
            return
        cluster = self.cluster_of.get(node)
        for source in cluster.inputs if cluster else node.all_input_nodes:
            self.need(source)
        if node in self.scope.env or node in self.scope.done:
            return  # a kernel that made one of the sources made this too
        if cluster:
            from edgeq.lower.glue_calls import lower_cluster

            lower_cluster(self.scope, cluster)
            self.scope.done |= set(cluster.nodes)
        else:
            self._compute(node)
            self.scope.done.add(node)

    def _compute(self, node: fx.Node) -> None:
        name = op(node)
        if name == "edgeq.qlinear":
            self._need_residual(node)
        if name in ("aten.reshape", "aten.unsqueeze", "aten.squeeze"):
            self.scope.env[node] = reshaped(self.scope.view(node.args[0]), node)  # type: ignore[arg-type]
        elif name in HANDLERS:
            HANDLERS[name](self.scope, node)
        else:
            raise UnsupportedError(f"{module(node) or node.name}: {name} has no kernel in a static entry")

    def _need_residual(self, node: fx.Node) -> None:
        """What the linear can add as it writes must be there first."""
        self.begun.add(node)
        user = only_user(node)
        if user is not None and op(user) == "aten.add" and user in self.ours:
            for other in user.args[:2]:
                if other not in self.begun:
                    self.need(other)  # type: ignore[arg-type]


def reshaped(view: View, node: fx.Node) -> View:
    """The same memory under the node's shape."""
    sizes = shape(node)
    width, count = sizes[-1] if sizes else 1, prod(sizes[:-1])
    if width == view.width:
        return View(view.buffer, width, count, view.column, stride=view.stride, dtype=view.dtype)
    if view.ld != view.width:
        raise UnsupportedError(f"{module(node) or node.name}: a reshape of rows that lie apart")
    return View(view.buffer, width, count, view.column, stride=width, dtype=view.dtype)


def _bind_input(scope: Scope, shared: Shared, node: fx.Node) -> Tensor:
    """An input's memory: rows are padded, but indices of an embedding lie dense."""
    sizes, integer = shape(node), not node.meta["val"].dtype.is_floating_point
    width = sizes[-1] if sizes else 1
    dtype, name = "i32" if integer else "f32", str(node.target)
    key = (name, sizes, dtype)
    if key not in shared.tensors:
        ld = width if any(op(u) == "edgeq.qembedding" for u in node.users) else padded(width)
        buffer = Buffer(name, 4 * ld, prod(sizes[:-1]), pinned=True)
        shared.tensors[key] = View(buffer, width, buffer.rows, dtype=dtype)
    scope.env[node] = shared.tensors[key]
    return Tensor(name, sizes, shared.tensors[key], _limit(node))


def _limit(node: fx.Node) -> int:
    """Rows of the smallest table that the integers index, 0 when they index none."""
    tables = [arguments(u)["w"] for u in node.users if op(u) == "edgeq.qembedding" and arguments(u)["ids"] is node]
    return min((shape(w)[0] for w in tables), default=0)


def _bind_output(scope: Scope, shared: Shared, name: str, node: fx.Node) -> Tensor:
    """An output stays where it was computed, in memory that lasts; a constant is copied there."""
    value = rows.lower_constant(scope, node) if is_weight(node) else scope.env.get(node)
    if not isinstance(value, View) or value.column * 4 % 64:
        raise UnsupportedError(f"output {name} ({module(node) or node.name}) is no tensor that an entry computes")
    value.buffer.pinned = True
    shared.tensors[(name, shape(node), value.dtype)] = value
    return Tensor(name, shape(node), value)
