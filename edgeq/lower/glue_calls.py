"""A cluster of glue -> calls: TVM's program for it, its values placed in memory."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from torch import fx

from edgeq.errors import UnsupportedError
from edgeq.ir.graph import hf_name as module
from edgeq.ir.graph import is_weight
from edgeq.lower.glue.cluster import Cluster
from edgeq.lower.glue.program import Operand, Program, program
from edgeq.lower.node import shape
from edgeq.lower.plan import Arg, Split, Weight
from edgeq.lower.scope import Scope
from edgeq.lower.values import View


def lower_cluster(scope: Scope, cluster: Cluster) -> None:
    """Call the program's kernels one after another and bind what leaves the cluster."""
    found = program(cluster, {node: _operand(scope, node) for node in cluster.inputs})
    places: dict[int, Arg] = dict(zip(found.inputs, (_argument(scope, n) for n in cluster.inputs), strict=True))
    for index, values in found.constants.items():
        places[index] = Weight(scope.table.constant("glue.constant", values))
    _alias(found, places)
    for step in found.steps:
        places[step.output] = _room(scope, found.values[step.output], step.name)
        _alias(found, places)
        args = (*(places[i] for i in step.inputs), places[step.output])
        scope.call(step.kernel, args, Split("units", step.units), cluster.outputs[0])
    for node, index in zip(cluster.outputs, found.outputs, strict=True):
        scope.env[node] = _bound(places[index], found.values[index], node)


def _operand(scope: Scope, node: fx.Node) -> Operand:
    """How an input lies in memory."""
    sizes = shape(node)
    if is_weight(node):
        integer = not node.meta["val"].dtype.is_floating_point
        return Operand(sizes, "i32" if integer else "f32", sizes[-1] if sizes else 1)
    view = scope.view(node)
    if view.column * 4 % 64:
        raise UnsupportedError(f"{module(node) or node.name}: columns from {view.column} on; need a multiple of 16")
    return Operand(sizes, view.dtype, view.ld)


def _argument(scope: Scope, node: fx.Node) -> Arg:
    return Weight(scope.table.table(node)) if is_weight(node) else scope.view(node)


def _room(scope: Scope, operand: Operand, name: str) -> View:
    count = prod(operand.shape[:-1])
    buffer = scope.buffer(name, 4 * operand.row_stride, count)
    return View(buffer, operand.shape[-1] if operand.shape else 1, count, dtype=operand.dtype)


def _alias(found: Program, places: dict[int, Arg]) -> None:
    """Values that are others under another shape lie where those do."""
    for alias in found.aliases:
        place = places.get(alias.source)
        if place is None or alias.value in places:
            continue
        if not isinstance(place, View):
            raise UnsupportedError("glue that only reshapes a weight: fold it into the weight expression")
        places[alias.value] = _seen_as(replace(place, column=place.column + alias.offset), found.values[alias.value])


def _bound(place: Arg, operand: Operand, node: fx.Node) -> View:
    if not isinstance(place, View):
        raise UnsupportedError(f"{module(node) or node.name}: a constant leaves the graph unchanged")
    return _seen_as(place, operand)


def _seen_as(view: View, operand: Operand) -> View:
    width, count = operand.shape[-1] if operand.shape else 1, prod(operand.shape[:-1])
    return replace(view, width=width, rows=count, stride=operand.row_stride, dtype=operand.dtype)
