"""An interrupted sweep goes on after the last layer that was decided."""

from __future__ import annotations

from edgeq.calibrate.journal import Carried, Decisions, Journal
from edgeq.calibrate.walk import Walk
from edgeq.passes.learned.learner import State


class Checkpoint:
    """Two walks and what is learned of layers not yet decided, in a journal; nothing for decisions in memory only.

    Args:
        journal: of the compile. stage: name of the sweep. walks: of the float and of the quantized model.
        nodes: of all layers, by name.
    """

    def __init__(self, journal: Decisions, stage: str, walks: tuple[Walk, Walk]) -> None:
        self._journal = journal if isinstance(journal, Journal) else None
        self._walks = walks
        self._place = self._journal.place(stage, walks[0].digest()) if self._journal else ""

    def resume(self, layers: list[set]) -> tuple[int, State]:
        """Layers that need not be done again, and what is learned of those after them; the walks are where they end.

        Args:
            layers: nodes of each.
        """
        if self._journal is None:
            return 0, {}
        self._journal.flush()
        done, carried = self._journal.saved(self._place) or (0, [])
        if not done:
            return 0, {}
        nodes = {node.name: node for layer in layers[:done] for node in layer}
        half = (len(carried) - 1) // 2
        for walk, values in zip(self._walks, (carried[:half], carried[half : 2 * half]), strict=True):
            walk.carried = [{nodes[name]: held for name, held in sample.items()} for sample in values]
        return done, _nested(carried[-1])

    def save(self, done: int, states: State) -> None:
        """So many layers are decided."""
        if self._journal is None:
            return
        walked: Carried = [
            {node.name: held for node, held in values.items()} for walk in self._walks for values in walk.carried
        ]
        flat = {f"{len(key)}:{key}{name}": held for key, state in states.items() for name, held in state.items()}
        self._journal.save(self._place, done, [*walked, flat])

    def finish(self) -> None:
        """All layers are decided."""
        if self._journal is not None:
            self._journal.finish()


def _nested(flat: dict) -> State:
    """Inverse of `length:key` + name -> tensor."""
    states: State = {}
    for text, held in flat.items():
        length, _, rest = text.partition(":")
        states.setdefault(rest[: int(length)], {})[rest[int(length) :]] = held
    return states
