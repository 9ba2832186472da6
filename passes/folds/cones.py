"""What is computed from linears up to the output that their errors are judged by: attention's, a gated activation's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx

from edgeq.ir.graph import arguments, calls, is_weight, op
from edgeq.ir.values import Reads, call, weight_value

JUDGES = {"edgeq.attention": ("q", "k", "v"), "edgeq.gated": ("gate", "up")}
BARRIERS = frozenset((*JUDGES, "aten.linear", "aten.layer_norm"))


@dataclass(frozen=True)
class Cone:
    """From some linears to the node that judges them.

    Attributes:
        linears: where it starts.
        between: calls that depend on them, in order, the judge last; empty when a linear's own output judges it.
        outside: other activations that those calls read.
    """

    linears: tuple[fx.Node, ...]
    between: tuple[fx.Node, ...] = ()
    outside: tuple[fx.Node, ...] = ()

    @property
    def judge(self) -> fx.Node:
        """The node whose value the error is measured on."""
        return self.between[-1] if self.between else self.linears[0]

    @property
    def by_rows(self) -> bool:
        """True when a row of the judge depends on the same row of the linears alone, so that rows may be left out."""
        return not self.outside and all(op(node) == "edgeq.gated" for node in self.between)

    def value(self, made: Mapping[fx.Node, Tensor], other: Callable[[fx.Node], Any], weights: Reads) -> Tensor:
        """The judge's value from the linears' outputs and, through `other`, what else is read."""
        known: dict[fx.Node, Any] = dict(made)

        def find(node: fx.Node) -> Any:
            if node in known:
                return known[node]
            return weight_value(node, weights) if is_weight(node) else other(node)

        for node in self.between:
            known[node] = call(node, find)
        return known[self.judge]


def cones(linears: tuple[fx.Node, ...]) -> list[Cone]:
    """Each linear in one cone for each attention or gated activation that it reaches, else in one of its own."""
    gm = linears[0].graph.owning_module if linears else None
    if gm is None:
        return []
    found = [cone for judge in calls(gm, *JUDGES) if (cone := _cone(judge, frozenset(linears)))]
    reached = {linear for cone in found for linear in cone.linears}
    return found + [Cone((linear,)) for linear in linears if linear not in reached]


def _cone(judge: fx.Node, starts: frozenset[fx.Node]) -> Cone | None:
    depends: dict[fx.Node, bool] = {}
    given = arguments(judge)
    for name in JUDGES[op(judge)]:
        if isinstance(given[name], fx.Node):
            _trace(given[name], starts, depends)
    linears = tuple(node for node in judge.graph.nodes if node in starts and node in depends)
    if not linears:
        return None
    between = (*(n for n in judge.graph.nodes if depends.get(n) and n not in starts), judge)
    inside = {*between, *linears}
    read = [source for node in between for source in node.all_input_nodes]
    outside = tuple(dict.fromkeys(n for n in read if n not in inside and not is_weight(n)))
    return Cone(linears, between, outside)


def _trace(node: fx.Node, starts: frozenset[fx.Node], depends: dict[fx.Node, bool]) -> bool:
    """Whether a node depends on the linears without passing through another linear, norm of rows or judge."""
    if node in depends:
        return depends[node]
    if node in starts:
        depends[node] = True
    elif node.op != "call_function" or op(node) in BARRIERS or _norm_of_rows(node):
        depends[node] = False
    else:
        depends[node] = any([_trace(source, starts, depends) for source in node.all_input_nodes])
    return depends[node]


def _norm_of_rows(node: fx.Node) -> bool:
    return op(node) == "edgeq.rms_norm" and arguments(node)["heads"] == 1
