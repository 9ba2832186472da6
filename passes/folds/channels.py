"""Where an activation's channels go: followed through layout ops and added embeddings to the linears that read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx

from edgeq.ir.graph import arguments, is_weight, op, value
from edgeq.ir.ops.grid import SOURCES
from edgeq.ir.values import call
from edgeq.ir.verify import is_static

VIEWS = frozenset(
    f"aten.{name}"
    for name in (
        "reshape", "permute", "transpose", "slice", "select", "squeeze", "unsqueeze", "expand", "flip", "roll",
        "constant_pad_nd", "pad", "index_select",
    )
)  # fmt: skip


@dataclass
class Reads:
    """What reads an activation `[..., K]`, channel by channel.

    Attributes:
        linears: those whose input channel j is the activation's channel j (or a zero that a view padded with).
        added: additions of something else (a position embedding) on the way to such linears.
        others: (node, reason) of readers that no scale of a channel can be moved into.
        padded: zeros come in on the way.
        selects: a view on the way leaves rows out.
    """

    linears: list[fx.Node] = field(default_factory=list)
    added: list[fx.Node] = field(default_factory=list)
    others: list[tuple[fx.Node, str]] = field(default_factory=list)
    padded: bool = False
    selects: bool = False


def reads(activation: fx.Node, users: list[fx.Node] | None = None) -> Reads:
    """Follow the activation from each of its users (or some of them) to everything that computes with it."""
    found = Reads()
    wanted = list(activation.users) if users is None else users
    probe = _probe(activation)
    for user in wanted:
        _follow(user, activation, probe, found, _rows(activation))
    return found


def _probe(activation: fx.Node) -> Tensor | None:
    """Channel numbers, from 1, in the activation's shape: views are run on it; None where sizes are symbolic."""
    shape = value(activation).shape
    if not is_static(activation.graph.owning_module):  # type: ignore[arg-type]
        return None
    return torch.arange(1, shape[-1] + 1, dtype=torch.float32).expand([int(size) for size in shape])


def _follow(user: fx.Node, source: fx.Node, probe: Tensor | None, found: Reads, rows: object) -> None:
    name = op(user)
    if name == "aten.linear" and user.args[0] is source:
        problem = _mixed(probe)
        if problem:
            found.others.append((user, problem))
        elif user not in found.linears:
            found.linears.append(user)
            found.padded |= probe is not None and bool((probe == 0).any())
            found.selects |= probe is not None and _rows(source) != rows
    elif name in VIEWS and probe is not None and not is_weight(user):
        moved = call(user, lambda node: probe if node is source else _zeros(node))
        for reader in user.users:
            _follow(reader, user, moved, found, rows)
        if not user.users:
            found.others.append((user, "nothing reads it"))
    elif name == "aten.add" and _added(user, source) is not None and _mixed(probe) == "":
        found.added.append(user)
        for reader in user.users:
            _follow(reader, user, probe, found, rows)
    else:
        found.others.append((user, _reason(user)))


def _zeros(index: fx.Node) -> Tensor:
    """Stands for rows chosen at run time: which they are does not matter, only that channels stay."""
    return torch.zeros([int(size) for size in value(index).shape], dtype=value(index).dtype)


def _mixed(probe: Tensor | None) -> str:
    """Why the last axis is not the activation's channels in their order, "" when it is."""
    if probe is None:
        return ""
    channels = torch.arange(1, probe.shape[-1] + 1, dtype=probe.dtype)
    same = ((probe == channels) | (probe == 0)).all()
    return "" if same else "its channels are mixed on the way"


def _added(add: fx.Node, source: fx.Node) -> fx.Node | None:
    """The other operand of an addition, when it is a constant that does not come from the activation."""
    other = next((x for x in add.args[:2] if x is not source), None)
    if not isinstance(other, fx.Node) or arguments(add)["alpha"] != 1 or not is_weight(other):
        return None
    return other if value(other).shape[-1:] == value(source).shape[-1:] else None


def _rows(node: fx.Node) -> object:
    return value(node).numel() // value(node).shape[-1] if all(isinstance(s, int) for s in value(node).shape) else None


def _reason(user: fx.Node) -> str:
    if user.op == "output":
        return "it is an output"
    where = user.meta.get("hf", "")
    return f"{op(user) or user.op}{f' of {where}' if where else ''} reads it too"


def stored(node: fx.Node) -> Iterator[fx.Node]:
    """The checkpoint's tensors in a weight expression: tables that a pass or the frontend made are left out."""
    if node.op == "get_attr":
        owner = node.graph.owning_module
        held = owner._buffers.get(str(node.target)) if owner is not None else None
        if held is None or held.device.type == "meta":
            yield node
    else:
        for source in node.all_input_nodes:
            yield from stored(source)


def stored_names(node: fx.Node) -> set[str]:
    """Names of the checkpoint's tensors in a weight expression, and of those that a grid in it was made of."""
    if node.op == "get_attr":
        return {str(leaf.target) for leaf in stored(node)} | set(node.meta.get(SOURCES, ()))
    return {name for source in node.all_input_nodes for name in stored_names(source)}
