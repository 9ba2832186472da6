"""One product instead of several: linears that read the same activation become one over stacked weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar

import torch
from torch import fx

from edgeq.ir.graph import arguments, calls, hf_name, insert, op, remove_unused, replace, site, value
from edgeq.passes.pass_ import Context, Pass, Report, Site

CONSUMERS = ("edgeq.attention", "edgeq.cached_attention", "edgeq.store_keys", "edgeq.gated")
BETWEEN = ("edgeq.rope", "edgeq.rms_norm")  # what may stand between a linear and the op that consumes it


@dataclass(frozen=True)
class MergeLinears(Pass):
    """q, k, v of an attention, k, v that are stored, gate, up of a gated activation -> one linear and slices. Exact.

    The weight becomes `cat` of the parts' weights in the order in which the consumer takes them; slices that make up
    one stored weight (a packed projection) become that weight again. Where only some parts have a bias, as in Whisper,
    the others get zeros.
    """

    name: ClassVar[str] = "merge-linears"

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Merge group by group."""
        changed = [_merge(gm, parts) for parts in _groups(gm)]
        remove_unused(gm)
        return Report(str(self), tuple(changed))


def _groups(gm: fx.GraphModule) -> Iterator[list[fx.Node]]:
    """Linears of one input and one consumer, in the order of the consumer's arguments."""
    for consumer in calls(gm, *CONSUMERS):
        by_input: dict[fx.Node, list[fx.Node]] = {}
        for argument in list(consumer.args)[:3]:
            part = _linear_behind(argument)
            if part is not None and part not in (group := by_input.setdefault(part.args[0], [])):
                group.append(part)
        yield from (group for group in by_input.values() if len(group) > 1)


def _linear_behind(argument: object) -> fx.Node | None:
    while op(argument) in BETWEEN and isinstance(argument, fx.Node):
        argument = argument.args[0]
    return argument if isinstance(argument, fx.Node) and op(argument) == "aten.linear" else None


def _merge(gm: fx.GraphModule, parts: list[fx.Node]) -> Site:
    order = {node: position for position, node in enumerate(gm.graph.nodes)}
    first = min(parts, key=order.__getitem__)
    given = [arguments(part) for part in parts]
    sizes = [int(value(one["weight"]).shape[0]) for one in given]
    with gm.graph.inserting_before(first):
        weight = _stack(first, [one["weight"] for one in given])
        bias = _stack(first, _biases(gm, given)) if any(one["bias"] is not None for one in given) else None
        merged = insert(gm.graph, "aten.linear", given[0]["input"], weight, bias, like=first)
        merged.meta["hf"] = _joined([hf_name(part) for part in parts])
        ends = list(accumulate(sizes))
        slices = [
            insert(gm.graph, "aten.slice.Tensor", merged, -1, end - size, end, like=part)
            for part, size, end in zip(parts, sizes, ends, strict=True)
        ]
    for part, new in zip(parts, slices, strict=True):
        replace(part, new)
    return Site(site(merged), " + ".join(map(str, sizes)) + " outputs")


def _stack(before: fx.Node, weights: list[fx.Node]) -> fx.Node:
    """Concatenation over rows of weight expressions, placed before a node."""
    for weight in weights:
        _hoist(before, weight)
    return _whole(weights) or insert(before.graph, "aten.cat", list(weights), 0, like=weights[0])


def _biases(gm: fx.GraphModule, given: list[dict[str, Any]]) -> list[fx.Node]:
    """The bias of each part, zeros where it has none; made at the insertion point."""
    return [_zeros(gm, one["weight"]) if one["bias"] is None else one["bias"] for one in given]


def _zeros(gm: fx.GraphModule, weight: fx.Node) -> fx.Node:
    """A bias of zeros for a weight `[N, K]`: a buffer of the graph, one a size."""
    size = int(value(weight).shape[0])
    name = f"zeros_{size}"
    if name not in gm._buffers:
        gm.register_buffer(name, torch.zeros(size))
    node = gm.graph.create_node("get_attr", name, name=name)
    node.meta.update(val=value(weight).new_empty(size), hf="")
    return node


def _hoist(before: fx.Node, weight: fx.Node) -> None:
    """Move a weight expression to stand before a node, sources first; what is there already stays: it is shared."""
    if weight < before:
        return
    for source in weight.all_input_nodes:
        _hoist(before, source)
    before.prepend(weight)


def _whole(weights: list[fx.Node]) -> fx.Node | None:
    """The one weight that the parts are consecutive row slices of, when together they are all of it."""
    if any(op(weight) != "aten.slice" for weight in weights):
        return None
    slices = [arguments(weight) for weight in weights]
    source, at = slices[0]["self"], 0
    for part in slices:
        if part["self"] is not source or part["dim"] != 0 or part["step"] != 1 or (part["start"] or 0) != at:
            return None
        at = min(int(value(source).shape[0]), part["end"] if part["end"] is not None else at)
    return source if at == int(value(source).shape[0]) else None


def _joined(names: list[str]) -> str:
    """`a.q_proj, a.k_proj` -> `a.{q_proj,k_proj}`; equal names stay as they are."""
    names = list(dict.fromkeys(names))
    if len(names) == 1:
        return names[0]
    prefix = names[0][: names[0].rfind(".") + 1]
    if not all(name.startswith(prefix) for name in names):
        prefix = ""
    return prefix + "{" + ",".join(name.removeprefix(prefix) for name in names) + "}"
