"""Linears rounded in the order in which a model runs them, each on what the ones rounded before it make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, fx

from edgeq.calibrate.blocks import Block, activations, blocks
from edgeq.calibrate.journal import Decisions
from edgeq.calibrate.keeper import Keeper
from edgeq.calibrate.quantized_walk import QuantizedWalk
from edgeq.calibrate.samples import Sample
from edgeq.calibrate.stream import Captured
from edgeq.ir.graph import arguments, is_weight
from edgeq.ir.values import weight_value
from edgeq.passes.rounding.segments import segments
from edgeq.quant.simulate import QuantSpec

Progress = Callable[[str, int, int], None]
Decide = Callable[[list[fx.Node], list[Tensor]], None]
Known = Callable[[fx.Node], "Tensor | None"]


class Sequential:
    """Takes samples through a graph, asks for decisions as inputs of linears become known, and goes on with them.

    Args:
        gm: the float graph; it may be rewritten when all is done, not before.
        weights: reads stored tensors by name.
        samples: at least one.
        quants: every linear that is rounded -> how.
        missing: those of them that nothing is decided for yet.
        decide: (linears that read one activation, its counted rows f `[T, K]`, one tensor a sample).
        known: a linear's weight as it was decided, f32 `[N, K]`.
        within: linears of a block see the ones before them in it; False: only those of earlier blocks.

    Raises:
        UsageError: a sample lacks an input that is needed.
    """

    def __init__(
        self,
        gm: fx.GraphModule,
        weights: Any,
        samples: Sequence[Sample],
        quants: Mapping[fx.Node, QuantSpec],
        missing: Sequence[fx.Node],
        decide: Decide,
        known: Known,
        within: bool = True,
    ) -> None:
        self._samples, self._weights = samples, weights
        self._quants, self._choose, self._known, self._within = quants, decide, known, within
        self._readers: dict[fx.Node, list[fx.Node]] = {}
        for linear in missing:
            self._readers.setdefault(arguments(linear)["input"], []).append(linear)
        shown = {node for node in activations(gm) if node in self._readers}
        self._walk = QuantizedWalk(gm, weights, samples, shown, quants.get)
        self._blocks = _until_last(blocks(gm), shown)

    def run(self, stage: str, progress: Progress, journal: Decisions) -> None:
        """Block by block; a journal keeps what is between two of them, and goes on after the last that it has."""
        for x in self._readers:
            if x.op == "placeholder" or is_weight(x):
                self._decide(x, [self._given(x, sample) for sample in self._samples])
        keeper = Keeper(journal, stage, self._walk, self._blocks)
        for block in self._blocks[keeper.resume() :]:
            progress(stage, block.index, len(self._blocks))
            keeper.done(block, self._through(block))
        progress(stage, len(self._blocks), len(self._blocks))
        keeper.finish()

    def _given(self, x: fx.Node, sample: Sample) -> Tensor:
        return sample.inputs[str(x.target)] if x.op == "placeholder" else weight_value(x, self._weights)

    def _through(self, block: Block) -> bool:
        """Whether anything was decided in the block."""
        if self._within:
            parts = list(segments(block, self._quants))
            return any([self._show(self._run(part)) for part in parts])  # a list: every part runs
        before = self._walk.snapshot()
        decided = self._show(self._walk.run(block))
        self._walk.restore(before)
        self._run(block)
        return decided

    def _run(self, part: Block) -> dict[fx.Node, list[Tensor]]:
        """A part with its linears rounded."""
        own = [node for node in part.nodes if node in self._quants]
        for linear in own:
            found = self._known(linear)
            if found is not None:
                self._walk.chosen[linear] = found
        values = self._walk.run(part)
        self._walk.chosen.clear()
        return values

    def _show(self, values: dict[fx.Node, list[Tensor]]) -> bool:
        for x, held in values.items():
            self._decide(x, held)
        return bool(values)

    def _decide(self, x: fx.Node, values: list[Tensor]) -> None:
        self._choose(self._readers[x], Captured(self._samples, {x: values}).rows(x))


def _until_last(found: Sequence[Block], shown: set[fx.Node]) -> list[Block]:
    """Blocks up to the last in which something is shown."""
    wanted = [block.index for block in found if not shown.isdisjoint(block.nodes)]
    return list(found[: wanted[-1] + 1]) if wanted else []
