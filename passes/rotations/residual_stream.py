"""The residual stream: everything that additions join, from the linears and embeddings that write it to the norms.

Found by structure: from the inputs of norms, through additions, products with one number and views that leave the last
axis alone, in both directions. What else touches it is why its basis cannot be changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import fx

from edgeq.ir.graph import arguments, calls, is_weight, op, site, value
from edgeq.ir.hadamard import block_size
from edgeq.passes.folds.channels import reads
from edgeq.passes.folds.fold_points import NORMS
from edgeq.passes.rotations.rotation import width

SMALLEST = 4  # channels of a block that are worth mixing
SUMS = ("aten.add", "aten.sub")
SCALES = ("aten.mul", "aten.div")
AXES = ("dim", "dims")  # arguments that name axes
MOVES = frozenset(
    f"aten.{name}"
    for name in ("slice", "select", "index_select", "unsqueeze", "squeeze", "flip", "roll", "mean", "sum", "cat")
)
SHAPES = ("aten.reshape", "aten.expand", "aten.permute", "aten.transpose", "aten.constant_pad_nd", "edgeq.last_row")


@dataclass
class Stream:
    """One residual stream of `width` channels.

    Attributes:
        nodes: its activations.
        writers: linears and embeddings that write it.
        constants: (node, argument name or number in a list) of weights that are added or joined.
        norms: norms that read it; linears: what reads it without a norm.
        sums: how many additions of two activations it holds.
        problems: why its basis cannot be changed -> the nodes that are to blame.
    """

    width: int
    nodes: list[fx.Node] = field(default_factory=list)
    writers: list[fx.Node] = field(default_factory=list)
    constants: list[tuple[fx.Node, fx.Node]] = field(default_factory=list)
    norms: list[fx.Node] = field(default_factory=list)
    linears: list[fx.Node] = field(default_factory=list)
    sums: int = 0
    problems: dict[str, list[fx.Node]] = field(default_factory=dict)

    def refuse(self, node: fx.Node, reason: str) -> None:
        """Note a reason and its place."""
        self.problems.setdefault(reason, []).append(node)

    @property
    def reason(self) -> str:
        """The first reason with its first place, "" when there is none."""
        for reason, nodes in self.problems.items():
            places = dict.fromkeys(site(node) for node in nodes)
            more = f" and {len(places) - 1} more" if len(places) > 1 else ""
            return f"{reason}: {next(iter(places))}{more}"
        return ""


def streams(gm: fx.GraphModule) -> list[Stream]:
    """Residual streams in graph order: what holds no addition of two activations is none."""
    found: list[Stream] = []
    seen: set[fx.Node] = set()
    for norm in calls(gm, *NORMS):
        source = norm.args[0]
        if isinstance(source, fx.Node) and source not in seen and not is_weight(source) and _plain(norm):
            stream = _collect(source)
            seen.update(stream.nodes)
            if stream.sums:
                _check(stream)
                found.append(stream)
    return found


def _plain(norm: fx.Node) -> bool:
    return bool(arguments(norm).get("heads", 1) == 1)


def _collect(start: fx.Node) -> Stream:
    stream, pending = Stream(width(start)), [start]
    while pending:
        node = pending.pop(0)
        if node in stream.nodes:
            continue
        stream.nodes.append(node)
        pending += _sources(stream, node)
        pending += [found for user in node.users if (found := _reader(stream, node, user)) is not None]
    return stream


def _sources(stream: Stream, node: fx.Node) -> list[fx.Node]:
    """Activations of the stream that a node of it is made of; notes who else makes it."""
    if op(node) == "aten.linear" or (op(node) == "aten.embedding" and is_weight(node.args[0])):
        stream.writers.append(node)
        return []
    if not _passes(node):
        post = "a norm writes the residual (post-LN)"
        words = "an input of the graph writes it" if node.op == "placeholder" else f"{op(node)} writes it"
        stream.refuse(node, post if op(node) in NORMS else words)
        return []
    operands = _operands(node)
    live = [x for x in operands if not is_weight(x)]
    stream.sums += op(node) in SUMS and len(live) > 1
    for constant in operands:
        if is_weight(constant) and op(node) not in SCALES:
            _note_constant(stream, node, constant)
    return live


def _note_constant(stream: Stream, node: fx.Node, constant: fx.Node) -> None:
    if value(constant).dim() and width(constant) == stream.width:
        stream.constants.append((node, constant))
    else:
        stream.refuse(node, "a constant is added to all channels alike")


def _reader(stream: Stream, node: fx.Node, user: fx.Node) -> fx.Node | None:
    """A user that is of the stream too; notes the others."""
    if _passes(user):
        return user
    if op(user) in NORMS and _plain(user):
        stream.norms += [user] if user not in stream.norms else []
    elif op(user) == "aten.linear" and user.args[0] is node:
        stream.linears += [user] if user not in stream.linears else []
    else:
        stream.refuse(user, "it is an output" if user.op == "output" else f"{op(user) or user.op} reads it")
    return None


def _operands(node: fx.Node) -> list[fx.Node]:
    if op(node) == "aten.cat":
        return list(node.args[0])  # type: ignore[arg-type]
    if op(node) in SUMS or op(node) in SCALES:
        return [x for x in node.args[:2] if isinstance(x, fx.Node)]
    return [node.args[0]]  # type: ignore[list-item]


def _passes(node: fx.Node) -> bool:
    """Whether the node does the same to every channel, and nothing between channels."""
    name, given = op(node), arguments(node)
    if name in SUMS:
        return given["alpha"] == 1 and all(isinstance(x, fx.Node) for x in node.args[:2])
    if name in SCALES:
        numbers = [x for x in node.args[:2] if not isinstance(x, fx.Node) or (is_weight(x) and value(x).numel() == 1)]
        divides = name == "aten.div" and node.args[0] in numbers
        return len(numbers) == 1 and not divides and given.get("rounding_mode") is None
    if name in MOVES:
        return _leaves_last_axis(node, given)
    return name in SHAPES and _keeps_channels(node, name, given)


def _leaves_last_axis(node: fx.Node, given: dict[str, Any]) -> bool:
    """Named axes do not include the last one."""
    sources = _operands(node)
    rank = value(sources[0]).dim()
    axes = next((given[name] for name in AXES if name in given), None)
    named = [axes] if isinstance(axes, int) else list(axes or [])
    last = rank if op(node) == "aten.unsqueeze" else rank - 1
    return bool(named) and all(axis % (last + 1) != last for axis in named)


def _keeps_channels(node: fx.Node, name: str, given: dict[str, Any]) -> bool:
    """The last axis is the source's last axis."""
    source = value(node.args[0])  # type: ignore[arg-type]
    if name in ("aten.permute", "aten.transpose"):
        axes = given["dims"] if name == "aten.permute" else [given["dim0"], given["dim1"]]
        moved = [axis % source.dim() for axis in axes]
        return moved[-1] == source.dim() - 1 if name == "aten.permute" else source.dim() - 1 not in moved
    if name == "aten.constant_pad_nd":
        return list(given["pad"][:2]) == [0, 0] and not given.get("value")
    return bool(source.shape[-1] == value(node).shape[-1])


def _check(stream: Stream) -> None:
    """A width that can be rotated; norms of one kind, read by linears alone."""
    if block_size(stream.width) < SMALLEST:
        stream.refuse(stream.nodes[0], f"no Hadamard matrix of {SMALLEST} channels or more divides its width")
    kinds = {op(norm) for norm in stream.norms}
    if len(kinds) > 1:
        stream.refuse(stream.norms[0], "layer norms and RMS norms read the same residual")
    if "aten.layer_norm" in kinds:
        for linear in stream.linears:
            stream.refuse(linear, "a linear reads it with its mean, beside layer norms")
    for norm in stream.norms:
        read = reads(norm)
        shifted = arguments(norm).get("bias", arguments(norm).get("b")) is not None
        for other, reason in read.others:
            stream.refuse(norm, "a norm of it is an output" if other.op == "output" else f"beside linears, {reason}")
        if read.added:
            stream.refuse(norm, "something is added to a norm of it")
        if read.padded and shifted:
            stream.refuse(norm, "zeros are padded in between a norm's bias and a linear")
