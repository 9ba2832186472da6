"""The reference: a unit is quantized, what follows it is run, the outputs are compared. The float prefix runs once.

A sample is walked in float; where a unit begins, the rest of the graph runs once for each of its candidates from there.
So a model of n units of equal cost takes about n / 2 runs a candidate and sample, in memory all weights in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from edgeq.calibrate.samples import Sample
from edgeq.evaluate.graph import EVERY_ROW, GraphModel
from edgeq.sensitivity.candidates import Asked, Candidate
from edgeq.sensitivity.harm import Divergence, Harm, RelativeError
from edgeq.sensitivity.units import Part

Progress = Callable[[str, int, int], None]
Damages = dict[str, dict[str, float]]  # by unit (`Part.key`) and format
ROWS = 512  # of logits that a model is compared by, evenly spaced over its samples


class Direct:
    """Damages of the units of one graph, measured one by one.

    Args:
        model: in float. units: to measure. asked: their candidates.
        divergence: whether outputs are logits, compared by KL divergence (else relative error).
        progress: called with (stage, units done, units).
    """

    def __init__(
        self, model: GraphModel, units: Sequence[Part], asked: Asked, divergence: bool, progress: Progress
    ) -> None:
        self._model, self._asked, self._progress = model, asked, progress
        needed = set(model.nodes)
        self._units = [unit for unit in units if needed.intersection(unit.nodes)]
        self._harm: type[Harm] = Divergence if divergence else RelativeError
        self._done, self._total = 0, 0

    @torch.no_grad()
    def measure(self, samples: Sequence[Sample]) -> tuple[Damages, int]:
        """(damages, positions that were compared)."""
        rows = sum(len(sample.counted) for sample in samples)
        step = max(1, rows // ROWS) if self._harm is Divergence and self._model.head is not None else 0
        cut = slice(1, None, step) if step else EVERY_ROW  # the first token of a text counts for itself
        found = {unit.key: {text: self._harm() for text in self._asked.formats(unit)} for unit in self._units}
        self._total, compared = len(samples) * len(self._units), 0
        for sample in samples:
            compared += self._sample(sample, cut, found)
        return {key: {text: harm.damage for text, harm in one.items()} for key, one in found.items()}, compared

    def _sample(self, sample: Sample, rows: slice, found: dict[str, dict[str, Harm]]) -> int:
        target = self._counted(self._model.run(sample.inputs, rows), sample)
        for unit, text, outputs in self._runs(sample, rows):
            found[unit.key][text].add(target, self._counted(outputs, sample))
        return max(t[..., 0].numel() for t in target)

    def _runs(self, sample: Sample, rows: slice) -> Iterator[tuple[Part, str, list[Tensor]]]:
        """Every unit in every candidate format, and the outputs that it gives."""
        begins = self._begins()
        known = self._model.given(sample.inputs)
        for at, node in enumerate(self._model.nodes):
            for unit in begins.get(node, ()):
                for text in self._asked.formats(unit):
                    candidate = Candidate(unit, text, self._asked, self._model)
                    yield unit, text, self._rest(at, dict(known), candidate, unit, rows)
                self._done += 1
                self._progress("quantize one part at a time", self._done, self._total)
            self._model.walk([node], known, lambda n: self._model.value(n, known, rows))

    def _begins(self) -> dict[fx.Node, list[Part]]:
        found: dict[fx.Node, list[Part]] = {}
        for unit in self._units:
            first = next(node for node in self._model.nodes if node in unit.nodes)
            found.setdefault(first, []).append(unit)
        return found

    def _rest(self, at: int, known: dict[fx.Node, Any], candidate: Candidate, unit: Part, rows: slice) -> list[Tensor]:
        model, members = self._model, set(unit.nodes)
        model.walk(
            model.nodes[at:], known,
            lambda node: (candidate if node in members else model).value(node, known, rows),
        )  # fmt: skip
        return [model.find(node, known) for node in model.wanted]

    @staticmethod
    def _counted(outputs: Sequence[Tensor], sample: Sample) -> list[Tensor]:
        """Rows that count, of outputs that have them all; integers are no outputs to compare."""
        kept = []
        for tensor in outputs:
            if tensor.is_floating_point():
                flat = tensor.flatten(0, -2) if tensor.dim() > 1 else tensor[None]
                kept.append(flat[sample.counted] if len(flat) == len(sample.counted) else flat)
        return kept
