"""A graph in blocks: consecutive nodes between places where little is alive, found by liveness and never by names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import fx

from edgeq.ir.graph import is_weight, op, value

SYMBOL = 128  # what a symbolic size counts as: long enough that scores of attention weigh more than rows
MOST_VALLEYS = 2  # what lives across more is no activation between blocks
HIGHER = 1.5  # a cut is dropped when so much more is alive there than at both its neighbours
LINEARS = ("aten.linear", "edgeq.qlinear")
VIEWS = frozenset(
    f"aten.{name}"
    for name in (
        "reshape", "permute", "transpose", "slice", "select", "squeeze", "unsqueeze", "expand", "flip", "roll",
        "constant_pad_nd", "pad", "index_select",
    )
) | {"edgeq.im2col"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive activations of a graph.

    Attributes:
        index: from 0, in the graph's order.
        nodes: what the block computes, in order: no placeholders, no weight expressions, not the output.
        inputs: activations of earlier blocks that it reads (placeholders are left out: samples hold them).
        outputs: its own activations that later blocks read, or the graph returns.
    """

    index: int
    nodes: tuple[fx.Node, ...]
    inputs: tuple[fx.Node, ...]
    outputs: tuple[fx.Node, ...]


def blocks(gm: fx.GraphModule) -> list[Block]:
    """Cut the graph where least is alive: in a transformer before the norms of attention and feed-forward.

    A cut is a local minimum of the bytes alive, so what lives throughout (masks, positions, an encoder's states) does
    not matter. An activation that a linear reads is never cut from it, and each block holds a linear, so that what a
    scale moves from and into lies in one block. Symbolic sizes count as 128. The blocks hold every activation once.
    """
    nodes = activations(gm)
    cuts = [0, *_cuts(nodes), len(nodes)]
    where = {node: index for index, (low, high) in enumerate(pairwise(cuts)) for node in nodes[low:high]}
    return [_block(index, nodes[low:high], where) for index, (low, high) in enumerate(pairwise(cuts)) if low < high]


def activations(gm: fx.GraphModule) -> list[fx.Node]:
    """What a walk over the graph computes, in order: calls that are no weight expressions."""
    return [node for node in gm.graph.nodes if node.op == "call_function" and not is_weight(node)]


def _block(index: int, nodes: list[fx.Node], where: dict[fx.Node, int]) -> Block:
    read = dict.fromkeys(source for node in nodes for source in node.all_input_nodes)
    inputs = tuple(source for source in read if where.get(source, index) < index)
    outputs = tuple(node for node in nodes if any(where.get(user, index + 1) > index for user in node.users))
    return Block(index, tuple(nodes), inputs, outputs)


def _cuts(nodes: list[fx.Node]) -> list[int]:
    """Positions i, so that nodes[i] begins a block."""
    alive = list(_alive(nodes))
    held = {node: _bytes(node) for node in nodes}
    staying = _staying(alive, held)
    passing = [[n for n in living if n not in staying] for living in alive]
    sizes = [sum(held[n] for n in living) for living in passing]
    found: list[int] = []
    for low, high in _valleys(sizes):
        position = next((i for i in range(low, high) if _may_cut(alive[i], passing[i], nodes[i + 1 :])), None)
        if position is not None:
            found.append(position + 1)
    return _with_linears(_low(found, sizes), nodes)


def _alive(nodes: list[fx.Node]) -> Iterator[list[fx.Node]]:
    """For each position, the activations computed up to it that something after it reads."""
    position = {node: i for i, node in enumerate(nodes)}
    last = {n: max((position.get(user, len(nodes)) for user in n.users), default=-1) for n in nodes}
    living: list[fx.Node] = []
    for i, node in enumerate(nodes):
        living = [n for n in [*living, node] if last[n] > i]
        yield living


def _staying(alive: list[list[fx.Node]], held: dict[fx.Node, int]) -> set[fx.Node]:
    """What lives across several valleys: masks, positions, an encoder's states that each layer reads."""
    valleys = [low for low, _ in _valleys([sum(held[n] for n in living) for living in alive])]
    crossed = Counter(node for low in valleys for node in alive[low])
    return {node for node, count in crossed.items() if count > MOST_VALLEYS}


def _valleys(sizes: list[int]) -> Iterator[tuple[int, int]]:
    """Ranges of equal sizes that are larger on both sides; the ends of the graph are no valleys."""
    low = 0
    for i in range(1, len(sizes)):
        if sizes[i] != sizes[low]:
            if low and sizes[low - 1] > sizes[low] < sizes[i]:
                yield low, i
            low = i


def _may_cut(alive: list[fx.Node], passing: list[fx.Node], after: list[fx.Node]) -> bool:
    """No linear is cut from what it reads, and everything alive is a tensor or a number (which a journal can keep)."""
    later = set(after)
    kept = all(isinstance(value(node), (torch.Tensor, torch.SymInt, int)) for node in alive)
    return kept and not any(_feeds_linear(node, later) for node in passing)


def _feeds_linear(node: fx.Node, later: set[fx.Node]) -> bool:
    readers = [user for user in node.users if user in later and user.args[0] is node]
    return any(op(user) in LINEARS or (op(user) in VIEWS and _feeds_linear(user, later)) for user in readers)


def _low(cuts: list[int], sizes: list[int]) -> list[int]:
    """Without cuts that are much higher than their neighbours: queries, keys and values, say, in padded windows."""
    heights = [sizes[cut - 1] for cut in cuts]
    around = [max(heights[max(i - 1, 0) : i] + heights[i + 1 : i + 2], default=heights[i]) for i in range(len(cuts))]
    return [cut for cut, height, near in zip(cuts, heights, around, strict=True) if height <= HIGHER * near]


def _with_linears(cuts: list[int], nodes: list[fx.Node]) -> list[int]:
    """Without cuts that leave a block no linear."""
    kept: list[int] = []
    for cut in cuts:
        if _has_linear(nodes[kept[-1] if kept else 0 : cut]):
            kept.append(cut)
    return kept[:-1] if kept and not _has_linear(nodes[kept[-1] :]) else kept


def _has_linear(nodes: list[fx.Node]) -> bool:
    return any(op(node) in LINEARS for node in nodes)


def _bytes(node: fx.Node) -> int:
    held: Any = value(node)
    if not isinstance(held, torch.Tensor):
        return 0
    count = held.element_size()
    for size in held.shape:
        count *= size if isinstance(size, int) else _size(size)
    return count


def _size(size: torch.SymInt) -> int:
    expression = size.node.expr
    return int(expression.subs(dict.fromkeys(expression.free_symbols, SYMBOL)))
