"""What an attention takes, collected from the blocks of a stream in which it is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, fx

from edgeq.ir.graph import arguments, is_weight
from edgeq.ir.values import weight_value

if TYPE_CHECKING:
    from edgeq.calibrate.samples import Sample
    from edgeq.calibrate.stream import Captured


class AttentionInputs:
    """Arguments of attentions, one list a sample; what no attention needs any more is dropped.

    wanted: the nodes that a stream must show.
    """

    def __init__(self, attentions: Sequence[fx.Node], samples: Sequence[Sample], weights: Any) -> None:
        self._samples, self._weights = samples, weights
        self._waiting = {node: _computed(node) for node in attentions}
        self._held: dict[fx.Node, list[Tensor]] = {}
        self.wanted = {source for sources in self._waiting.values() for source in sources}

    def add(self, captured: Captured) -> list[fx.Node]:
        """Keep what a block computed; attentions that can be taken now."""
        self._held |= {node: captured.values(node) for node in self.wanted if node in captured}
        return [node for node, sources in self._waiting.items() if sources <= self._held.keys()]

    def take(self, attention: fx.Node) -> list[dict[str, Any]]:
        """Its arguments by name, of every sample."""
        given = arguments(attention)
        found = [{name: self._value(x, i) for name, x in given.items()} for i in range(len(self._samples))]
        del self._waiting[attention]
        needed = {source for sources in self._waiting.values() for source in sources}
        self._held = {node: held for node, held in self._held.items() if node in needed}
        return found

    def _value(self, x: Any, sample: int) -> Any:
        if not isinstance(x, fx.Node):
            return x
        if is_weight(x):
            return weight_value(x, self._weights)
        return self._samples[sample].inputs[str(x.target)] if x.op == "placeholder" else self._held[x][sample]


def _computed(attention: fx.Node) -> set[fx.Node]:
    return {n for n in attention.all_input_nodes if n.op == "call_function" and not is_weight(n)}
