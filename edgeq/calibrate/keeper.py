"""Keeps a stream in a journal after each block, and finds where an interrupted one goes on."""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.calibrate.blocks import Block
from edgeq.calibrate.journal import Decisions, Journal
from edgeq.calibrate.walk import Walk


class Keeper:
    """Between a stream and its journal; does nothing for decisions that are in memory only.

    A stream is saved as long as every visit decides something: to go on after a visit that kept what it measured to
    itself would lose it.
    """

    def __init__(self, journal: Decisions | None, stage: str, walk: Walk, todo: Sequence[Block]) -> None:
        self._journal = journal if isinstance(journal, Journal) else None
        self._walk, self._todo = walk, todo
        self._place = self._journal.place(stage, walk.digest()) if self._journal else ""
        self._saves = True

    def resume(self) -> int:
        """Blocks that need not be done again; the walk is where they end."""
        if self._journal is None:
            return 0
        self._journal.flush()
        blocks, carried = self._journal.saved(self._place) or (0, [])
        done = {node.name: node for block in self._todo[:blocks] for node in block.nodes}
        needed = self._walk.needed_after(set(done.values()))
        complete = all(node.name in values for values in carried for node in needed)
        if not 0 < blocks < len(self._todo) or not complete:
            return 0
        self._walk.carried = [{node: values[node.name] for node in needed} for values in carried]
        return blocks

    def done(self, block: Block, visited: bool) -> None:
        """The walk is after this block, whose decisions are made."""
        if self._journal is None:
            return
        self._saves = self._saves and (not visited or self._journal.unsaved > 0)
        if self._saves and block is not self._todo[-1]:
            carried = [{node.name: held for node, held in values.items()} for values in self._walk.carried]
            self._journal.save(self._place, block.index + 1, carried)

    def finish(self) -> None:
        """All blocks are done."""
        if self._journal is not None:
            self._journal.finish()
