"""Activations without outliers: a channel's size moves from the activation into the weights that read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, fx

from edgeq.errors import UsageError
from edgeq.ir.graph import arguments, calls, insert, op, replace, site, value
from edgeq.ir.values import weight_value
from edgeq.ir.verify import is_static
from edgeq.passes.pass_ import Context, Pass, Report, Site
from edgeq.passes.statistics import Sample, channel_absmax, encoder_samples, text_sample

NORMS = ("edgeq.rms_norm", "aten.layer_norm")
FLOOR = 1e-5  # channels that are never used keep a finite scale


@dataclass(frozen=True)
class Smooth(Pass):
    """Divide channel j of an activation by `s_j = max|x_j|^alpha / max|W_j|^(1-alpha)`, multiply column j of W by it.

    SmoothQuant (ICML 2023, eq. 4). The division folds into what makes the activation: a norm's weight, or the rows of
    the `up` linear of a gated activation. Where a norm's result is also a residual (BERT), the linears get a norm of
    their own. int8 activations lose less, because a token's one scale no longer serves channels of very different size;
    and so do 4-bit weights, as the columns that matter most get more of their group's range (AWQ).

    Attributes:
        alpha: how much of the difficulty moves into the weights, 0..1.
        powers: scales are powers of two, so a float model's results stay the same bit for bit.
    """

    name: ClassVar[str] = "smooth"
    alpha: float = 0.5
    powers: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise UsageError(f"smooth: alpha={self.alpha} must lie between 0 and 1")

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Fold at every norm and gated activation that linears alone read; run before add-cache.

        Raises UsageError without weights and sample tokens (a graph that came from text has none).
        """
        if context.weights is None or not (context.tokens or context.texts):
            raise UsageError("the pass smooth measures activations: it needs a model's weights and sample tokens")
        if calls(gm, "edgeq.cached_attention"):
            raise UsageError("the pass smooth runs the graph on sample tokens: put it before add-cache")
        if is_static(gm):
            _part_norms(gm)
        found = (node for node in calls(gm, *NORMS, "edgeq.gated") if _feeds_linears(node))
        reasons = {node: _why_not(node) for node in found}
        sites = [node for node, reason in reasons.items() if reason is None]
        known = all(_key(node) in context.scales for node in sites)
        largest = {} if known else channel_absmax(gm, context.weights, _samples(gm, context))
        measured = [node for node in sites if node in largest or _key(node) in context.scales]
        changed = [self._fold(gm, node, largest.get(node), context) for node in measured]
        declined = [Site(site(node), reason) for node, reason in reasons.items() if reason is not None]
        return Report(str(self), tuple(changed), tuple(declined))

    def _fold(self, gm: fx.GraphModule, node: fx.Node, largest: Tensor | None, context: Context) -> Site:
        key = _key(node)
        if largest is not None and key not in context.scales:
            context.scales[key] = self._scale(largest, list(node.users), context)
        scale = context.scales[key]
        table = _table(gm, scale, node)
        for linear in list(node.users):
            _multiply(linear, 1, table)
        where = site(node)
        if op(node) == "edgeq.gated":
            _divide_rows(gm, node.args[1], scale)
        else:
            _divide_norm(gm, node, scale)
        return Site(where, f"scales {scale.min().item():g}..{scale.max().item():g}")

    def _scale(self, largest: Tensor, linears: list[fx.Node], context: Context) -> Tensor:
        columns = [weight_value(arguments(linear)["weight"], context.weights).abs().amax(0) for linear in linears]
        weight = torch.stack(columns).amax(0)
        scale = largest.clamp(min=FLOOR) ** self.alpha / weight.clamp(min=FLOOR) ** (1 - self.alpha)
        return torch.exp2(torch.round(torch.log2(scale))) if self.powers else scale


def _samples(gm: fx.GraphModule, context: Context) -> list[Sample]:
    return encoder_samples(gm, context.texts) if is_static(gm) else [text_sample(context.tokens)]


def _key(node: fx.Node) -> str:
    """The weights that a scale goes into: the same in every entry of a model."""
    return " ".join(sorted(str(leaf.target) for user in node.users for leaf in _stored(user.args[1])))


def _stored(node: fx.Node) -> list[fx.Node]:
    return [node] if node.op == "get_attr" else [leaf for source in node.all_input_nodes for leaf in _stored(source)]


def _part_norms(gm: fx.GraphModule) -> None:
    """A norm whose result linears read beside a residual becomes two: one for the linears, one for the rest."""
    for node in calls(gm, *NORMS):
        linears = [user for user in node.users if op(user) == "aten.linear" and user.args[0] is node]
        if not linears or len(linears) == len(node.users):
            continue
        with gm.graph.inserting_after(node):
            copy = gm.graph.node_copy(node)
        copy.meta = dict(node.meta)
        for linear in linears:
            linear.replace_input_with(node, copy)


def _feeds_linears(node: fx.Node) -> bool:
    return any(op(user) == "aten.linear" for user in node.users)


def _why_not(node: fx.Node) -> str | None:
    """The reason why a scale cannot move across this node, None when it can."""
    if any(op(user) != "aten.linear" or user.args[0] is not node for user in node.users):
        return "something else than linears reads it"
    if any(_shared(user.args[1]) for user in node.users):
        return "its weight is also the token embedding"
    if op(node) == "edgeq.gated":
        up = node.args[1]
        return None if op(up) == "aten.linear" and len(up.users) == 1 else "its second factor is no linear of its own"
    if arguments(node).get("heads", 1) != 1:
        return "it normalises heads"
    return None if arguments(node).get("weight", arguments(node).get("w")) is not None else "it has no weight"


def _shared(weight: fx.Node) -> bool:
    return any(op(user) == "aten.embedding" for user in weight.users)


def _table(gm: fx.GraphModule, values: Tensor, before: fx.Node) -> fx.Node:
    """A stored constant of the module, typed, before a node."""
    name = f"smooth_{sum(key.startswith('smooth_') for key in gm._buffers)}"
    gm.register_buffer(name, values)
    with gm.graph.inserting_before(before):
        node = gm.graph.create_node("get_attr", name, name=name)
    node.meta.update(val=value(before).new_empty(values.shape, dtype=torch.float32), hf="")
    return node


def _multiply(node: fx.Node, position: int, table: fx.Node) -> None:
    """Multiply the weight that is an argument of a node by a table, if it is there."""
    if len(node.args) <= position or node.args[position] is None:
        return
    with node.graph.inserting_before(node):
        product = insert(node.graph, "aten.mul.Tensor", node.args[position], table, like=node.args[position])
    node.update_arg(position, product)


def _divide_rows(gm: fx.GraphModule, linear: fx.Node, scale: Tensor) -> None:
    _multiply(linear, 1, _table(gm, (1 / scale)[:, None], linear))
    if arguments(linear)["bias"] is not None:
        _multiply(linear, 2, _table(gm, 1 / scale, linear))


def _divide_norm(gm: fx.GraphModule, node: fx.Node, scale: Tensor) -> None:
    table = _table(gm, 1 / scale, node)
    if op(node) == "aten.layer_norm":
        for position in (2, 3):
            _multiply(node, position, table)
        return
    given = arguments(node)
    weight = given["w"]
    with gm.graph.inserting_before(node):
        if given["offset"]:
            weight = insert(gm.graph, "aten.add.Tensor", weight, given["offset"], like=weight)
        weight = insert(gm.graph, "aten.mul.Tensor", weight, table, like=weight)
        new = insert(gm.graph, "edgeq.rms_norm", given["x"], weight, eps=given["eps"], like=node)
    replace(node, new)
