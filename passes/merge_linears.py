"""One product instead of several: linears that read the same activation become one over stacked weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any, ClassVar

import torch
from torch import fx

from edgeq.ir.graph import arguments, calls, hf_name, insert, op, remove_unused, replace, site, value
from edgeq.passes.grids import grid_format, holds_grid
from edgeq.passes.pass_ import Context, Pass, Report, Site

CONSUMERS = ("edgeq.attention", "edgeq.cached_attention", "edgeq.store_keys", "edgeq.gated")
LINEARS = ("aten.linear", "edgeq.qlinear")
BETWEEN = ("edgeq.rope", "edgeq.rms_norm", "edgeq.sign_heads")  # what may stand between a linear and its consumer


@dataclass(frozen=True)
class MergeLinears(Pass):
    """q, k, v of an attention, k, v that are stored, gate, up of a gated activation -> one linear and slices. Exact.

    Linears that are quantized already are merged where neighbours have one format, codes with scales and zero points as
    they are; those of other formats stay apart. The weight becomes `cat` of the parts' weights in the order in which
    the consumer takes them; slices that make up one stored weight (a packed projection) become that weight again. Where
    only some parts have a bias, as in Whisper, the others get zeros.
    """

    name: ClassVar[str] = "merge-linears"

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Merge group by group."""
        changed = [_merge(gm, parts) for parts in groups(gm)]
        remove_unused(gm)
        return Report(str(self), tuple(changed))


def groups(gm: fx.GraphModule) -> Iterator[list[fx.Node]]:
    """What becomes one: linears of one consumer, alike and next to each other, in the order of its arguments."""
    for consumer in calls(gm, *CONSUMERS):
        parts = [_linear_behind(argument) for argument in list(consumer.args)[:3]]
        runs = groupby((part for part in dict.fromkeys(parts) if part is not None), _kind)
        yield from (group for _, alike in runs if len(group := list(alike)) > 1)


def _kind(linear: fx.Node) -> tuple[Any, ...]:
    """What linears must have in common: input, and how input and weights are quantized."""
    given = arguments(linear)
    if op(linear) == "aten.linear":
        return "", given["input"], grid_format(given["weight"]) or holds_grid(given["weight"])
    return given["weight"], given["x"], given["act"], given["x_scale"], given["w_scale"] is None


def _linear_behind(argument: object) -> fx.Node | None:
    while op(argument) in BETWEEN and isinstance(argument, fx.Node):
        argument = argument.args[0]
    return argument if isinstance(argument, fx.Node) and op(argument) in LINEARS else None


def _merge(gm: fx.GraphModule, parts: list[fx.Node]) -> Site:
    order = {node: position for position, node in enumerate(gm.graph.nodes)}
    first = min(parts, key=order.__getitem__)
    sizes = [int(value(part).shape[-1]) for part in parts]
    with gm.graph.inserting_before(first):
        merged = (_float if op(first) == "aten.linear" else _quantized)(gm, first, [arguments(part) for part in parts])
        merged.meta["hf"] = _joined([hf_name(part) for part in parts])
        ends = list(accumulate(sizes))
        slices = [
            insert(gm.graph, "aten.slice.Tensor", merged, -1, end - size, end, like=part)
            for part, size, end in zip(parts, sizes, ends, strict=True)
        ]
    for part, new in zip(parts, slices, strict=True):
        replace(part, new)
    return Site(site(merged), " + ".join(map(str, sizes)) + " outputs")


def _float(gm: fx.GraphModule, first: fx.Node, given: list[dict[str, Any]]) -> fx.Node:
    weights = [one["weight"] for one in given]
    return insert(
        gm.graph, "aten.linear", given[0]["input"], _stack(first, weights), _bias(gm, first, given, weights), like=first
    )


def _quantized(gm: fx.GraphModule, first: fx.Node, given: list[dict[str, Any]]) -> fx.Node:
    weights = [one["w"] for one in given]
    w, w_scale, w_zero = (
        None if given[0][name] is None else _stack(first, [one[name] for one in given])
        for name in ("w", "w_scale", "w_zero")
    )
    bias, one = _bias(gm, first, given, weights), given[0]
    return insert(
        gm.graph, "edgeq.qlinear", one["x"], w, bias, one["x_scale"], w_scale, w_zero,
        weight=one["weight"], act=one["act"], like=first,
    )  # fmt: skip


def _bias(gm: fx.GraphModule, first: fx.Node, given: list[dict[str, Any]], weights: list[fx.Node]) -> fx.Node | None:
    """The biases stacked, zeros where a part has none; None where no part has one."""
    if all(one["bias"] is None for one in given):
        return None
    pairs = zip(given, weights, strict=True)
    return _stack(first, [_zeros(gm, weight) if one["bias"] is None else one["bias"] for one, weight in pairs])


def _stack(before: fx.Node, weights: list[fx.Node]) -> fx.Node:
    """Concatenation over rows of weight expressions, placed before a node."""
    for weight in weights:
        _hoist(before, weight)
    return _whole(weights) or insert(before.graph, "aten.cat", list(weights), 0, like=weights[0])


def _zeros(gm: fx.GraphModule, weight: fx.Node) -> fx.Node:
    """A bias of zeros for a weight `[N, K]`: a buffer of the graph, one a size."""
    size = int(value(weight).shape[0])
    name = f"zeros_{size}"
    if name not in gm._buffers:
        gm.register_buffer(name, torch.zeros(size))
    node = gm.graph.create_node("get_attr", name, name=name)
    node.meta.update(val=value(weight).new_empty(size, dtype=torch.float32), hf="")
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
