"""A window slides over a model's layers: each is rounded for good on what those before it make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from edgeq.calibrate.blocks import Block, blocks
from edgeq.calibrate.journal import Decisions
from edgeq.calibrate.layers import layers
from edgeq.calibrate.samples import Sample
from edgeq.ir.graph import site
from edgeq.passes.folds.weight_key import key_of
from edgeq.passes.learned.checkpoint import Checkpoint
from edgeq.passes.learned.learner import Learner, Learns, State, range_key, step_of
from edgeq.passes.learned.settings import Settings
from edgeq.passes.learned.soft_rounding import SoftRounding
from edgeq.passes.learned.straight_rounding import StraightRounding
from edgeq.passes.learned.trainer import Example, Trainer
from edgeq.passes.learned.walks import FloatWalk, LearnedWalk
from edgeq.passes.learned.window import Window
from edgeq.passes.rounding.gptq_columns import Rounded
from edgeq.passes.rounding.sites import decision_key
from edgeq.quant.simulate import QuantSpec

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Slide:
    """Layers of a window, and how many of them the next one takes up again."""

    window: int
    overlap: int


@dataclass(frozen=True)
class Learned:
    """A layer's results: weights by `decision_key`, static scales by `range_key`, the errors of its window."""

    weights: dict[str, Rounded]
    scales: dict[str, Tensor]
    errors: tuple[float, float]


class Sweep:
    """Learns a float graph window by window (CBQ, ICLR 2025, section 3.2).

    Two streams go through it: samples in the float model, and samples in the model quantized so far. A window learns to
    make of the second what the float window makes of the first. Then its layers up to the overlap are rounded for good.

    Args:
        gm: the float graph; it may be rewritten when all is done, not before.
        quants: every linear that is quantized -> how.
        known: a linear's weight f32 `[N, K]` that is decided already, by `decide` too; None of others.
        known_scale: as `known`, of a `fake_quant`'s scale f32 `[1]`.
        decide: called with each finished layer's results.
        device: where windows learn. begin: the rounding that a linear's starts from; None: to nearest.
    """

    def __init__(
        self, gm: fx.GraphModule, weights: Any, samples: Sequence[Sample], quants: Mapping[fx.Node, QuantSpec],
        settings: Settings, slide: Slide, *, known: Callable[[fx.Node], Tensor | None],
        known_scale: Callable[[fx.Node], Tensor | None], decide: Callable[[Learned], None], device: torch.device,
        begin: Callable[[fx.Node], Rounded | None] = lambda linear: None,
    ) -> None:  # fmt: skip
        self._weights, self._samples, self._quants = weights, samples, quants
        self._settings, self._slide, self._device = settings, slide, device
        self._known, self._known_scale, self._decide, self._begin = known, known_scale, decide, begin
        self._layers = _until_last(layers(blocks(gm)), quants)
        shown = {node for layer in self._layers for block in layer for node in block.outputs}
        self._plain = FloatWalk(gm, weights, samples, shown)
        self._quantized = LearnedWalk(gm, weights, samples, shown, quants.get)

    def run(self, stage: str, progress: Progress, journal: Decisions) -> None:
        """Every window; a journal keeps what is between two of them, and goes on after the last that it has."""
        checkpoint = Checkpoint(journal, stage, (self._plain, self._quantized))
        done, states = checkpoint.resume(list(map(_nodes, self._layers)))
        while done < len(self._layers):
            end = min(done + (self._slide.window or len(self._layers)), len(self._layers))
            settled = len(self._layers) if end == len(self._layers) else end - self._slide.overlap
            report = _reporting(progress, stage, (done, settled, len(self._layers)), self._settings.epochs)
            states = self._window(done, end, settled, states, report)
            done = settled
            if done < len(self._layers):
                checkpoint.save(done, states)
        progress(stage, len(self._layers), len(self._layers))
        checkpoint.finish()

    def _window(self, start: int, end: int, settled: int, states: State, report: Callable[[int], None]) -> State:
        """Learn layers `start` to `end`, those in `states` from there; round those before `settled`.

        What is learned of the others, for the next window.
        """
        report(-1)
        window = Window([block for layer in self._layers[start:end] for block in layer], self._weights, self._device)
        generator = torch.Generator().manual_seed(self._settings.seed * 1_000_003 + start)
        learner = self._learner(window, generator)
        learner.restore(states)
        errors = Trainer(window, learner, self._examples(window), self._settings, generator, report=report).train()
        for layer in self._layers[start:settled]:
            self._settle(layer, learner, errors)
        inside = {node for layer in self._layers[settled:end] for node in _nodes(layer)}
        still = {key_of(n) for n in self._quants if n in inside} | {range_key(n) for n in window.ranges if n in inside}
        return {key: state for key, state in learner.state().items() if key in still}

    def _learner(self, window: Window, generator: torch.Generator) -> Learner:
        """What the window learns, where it starts."""
        settings, kind = self._settings, StraightRounding if self._settings.hard else SoftRounding
        roundings: dict[str, Learns] = {}
        fixed: dict[fx.Node, Tensor] = {}
        for node in (node for node in window.linears if node in self._quants):
            weight, quant, known = window.weight(node), self._quants[node], self._known(node)
            if known is not None:
                fixed[node] = known.to(self._device)
            elif not settings.round:
                fixed[node] = quant.weight(weight)
            elif key_of(node) not in roundings:
                begin = self._begin(node)
                roundings[key_of(node)] = kind(weight, quant, settings.rank, generator, site(node), begin)
        scales = {node: self._known_scale(node) for node in window.ranges}
        steps = {node: step_of(window, node, scale, learns=scale is None) for node, scale in scales.items()}
        return Learner(self._quants, settings, roundings, fixed, steps)

    @torch.no_grad()
    def _examples(self, window: Window) -> list[Example]:
        streams = zip(self._samples, self._quantized.carried, self._plain.carried, strict=True)
        return [
            Example(sample, dict(quantized), dict(plain), _stored(window.run(sample, plain)))
            for sample, quantized, plain in streams
        ]

    def _settle(self, layer: Sequence[Block], learner: Learner, errors: tuple[float, float]) -> None:
        """Round a layer for good, and take both streams through it."""
        inside = _nodes(layer)
        own = [node for node in self._quants if node in inside]
        found = {
            decision_key(node, self._quants[node]): learner.roundings[key_of(node)].harden()
            for node in own if key_of(node) in learner.roundings
        }  # fmt: skip
        scales = {node: step.scale().detach().cpu() for node, step in learner.steps.items() if node in inside}
        self._decide(Learned(found, {range_key(node): scale for node, scale in scales.items()}, errors))
        for node in own:
            decided = self._known(node)
            self._quantized.chosen[node] = learner.fixed[node].cpu() if decided is None else decided
        self._quantized.scales |= scales
        for block in layer:
            self._plain.run(block)
            self._quantized.run(block)
        self._quantized.chosen.clear()


def _until_last(found: list[list[Block]], quants: Mapping[fx.Node, QuantSpec]) -> list[list[Block]]:
    """Layers without those behind the last quantized linear, and without its layer's blocks behind it."""
    wanted = [[block for block in layer if not quants.keys().isdisjoint(block.nodes)] for layer in found]
    last = max(block.index for layer in wanted for block in layer)
    kept = [[block for block in layer if block.index <= last] for layer in found]
    return [layer for layer in kept if layer]


def _nodes(layer: Sequence[Block]) -> set[fx.Node]:
    return {node for block in layer for node in block.nodes}


def _stored(outputs: dict[fx.Node, Tensor]) -> dict[fx.Node, Tensor]:
    return {node: held.cpu() for node, held in outputs.items()}


def _reporting(progress: Progress, stage: str, layers: tuple[int, int, int], epochs: int) -> Callable[[int], None]:
    """Epochs of a window as parts of the layers that it settles."""
    done, settled, count = layers
    each = max(1, epochs)

    def report(epoch: int) -> None:
        progress(stage, done * each + (settled - done) * (epoch + 1), count * each)

    return report
