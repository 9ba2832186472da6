"""Blocks put together to layers: an attention and what follows it up to the next one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from edgeq.calibrate.blocks import Block
from edgeq.ir.graph import op


def layers(blocks: Sequence[Block]) -> list[list[Block]]:
    """Consecutive blocks, a new layer at each that holds an attention; a block is a layer in a model that has none.

    What stands before the first attention belongs to its layer.
    """
    attends = [any(op(node) == "edgeq.attention" for node in block.nodes) for block in blocks]
    if not any(attends):
        return [[block] for block in blocks]
    starts = [i for i, found in enumerate(attends) if found]
    bounds = [0, *starts[1:], len(blocks)]
    return [list(blocks[low:high]) for low, high in pairwise(bounds)]
