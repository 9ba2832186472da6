"""A block cut where a linear is about to run whose input was just made: so it can be rounded before it runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from torch import fx

from edgeq.calibrate.blocks import Block
from edgeq.ir.graph import arguments


def segments(block: Block, linears: Collection[fx.Node]) -> Iterator[Block]:
    """Consecutive nodes of a block, all of them: each segment after the first begins with one of the linears.

    All linears that read what a segment makes come after it (true-sequential: q, k, v; then o; then gate, up; ...).
    """
    nodes: list[fx.Node] = []
    for node in block.nodes:
        if node in linears and arguments(node)["input"] in nodes:
            yield Block(block.index, tuple(nodes), (), ())
            nodes = []
        nodes.append(node)
    yield Block(block.index, tuple(nodes), (), ())
