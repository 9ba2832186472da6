"""Where the heads of a four-axis tensor are, and its token-major flat form `[B, S, H*D]`."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import fx

from edgeq.frontend.match import rank, shape
from edgeq.frontend.rewrite import call

aten = torch.ops.aten


class Heads(NamedTuple):
    """axis: of the heads in a four-axis tensor (1: `[B,H,S,D]`, 2: `[B,S,H,D]`); heads: how many; width: of each."""

    axis: int
    heads: int
    width: int


def heads_of(x: Any) -> Heads | None:
    """The head axis is the one of axes 1 and 2 that has a fixed size while the other is the symbolic length."""
    if rank(x) != 4:
        return None
    _, a, b, width = shape(x)
    if isinstance(width, torch.SymInt) or isinstance(a, torch.SymInt) == isinstance(b, torch.SymInt):
        return None
    return Heads(2, int(b), int(width)) if isinstance(a, torch.SymInt) else Heads(1, int(a), int(width))


def row_sizes(x: fx.Node) -> list[int]:
    """The first two axes `[B, S]` as a reshape takes them: -1 for a symbolic length."""
    return [size if isinstance(size, int) else -1 for size in shape(x)[:2]]


def as_flat(like: fx.Node, x: fx.Node, heads: Heads) -> fx.Node:
    """x -> `[B, S, H*D]`, by layout ops inserted before `like`."""
    if heads.axis == 1:
        x = call(like, aten.transpose.int, x, 1, 2)
    return call(like, aten.reshape.default, x, [*row_sizes(x), heads.heads * heads.width])


def from_flat(like: fx.Node, flat: fx.Node, heads: Heads) -> fx.Node:
    """`[B, S, H*D]` -> the layout that `heads` describes."""
    x = call(like, aten.reshape.default, flat, [*row_sizes(flat), heads.heads, heads.width])
    return call(like, aten.transpose.int, x, 1, 2) if heads.axis == 1 else x
