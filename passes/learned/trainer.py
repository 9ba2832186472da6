"""The one trainer: what a window learns, by its error on samples, until samples held out say stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from edgeq.calibrate.samples import Sample
from edgeq.errors import ModelError
from edgeq.passes.learned.error import window_error
from edgeq.passes.learned.learner import Learner
from edgeq.passes.learned.settings import PATIENCE, Settings
from edgeq.passes.learned.window import Values, Window

HELD_OUT = 8  # every so manieth sample is not learned from
Outputs = dict[fx.Node, Tensor]
Error = Callable[[Outputs, Outputs, Tensor], Tensor]


@dataclass(frozen=True)
class Example:
    """One sample at a window: activations that reach it in the model quantized so far and in float; its target.

    Without one the window is run in float each time: logits of a large vocabulary are not kept.
    """

    sample: Sample
    quantized: Values
    plain: Values
    target: Outputs | None = None


class Trainer:
    """Learns one window.

    Args:
        learner: what is learned. examples: all samples; every eighth is held out where there are four or more.
        error: of outputs; None: `window_error`.
        report: called after each epoch with its number.
    """

    def __init__(
        self, window: Window, learner: Learner, examples: Sequence[Example], settings: Settings,
        generator: torch.Generator, error: Error | None = None, report: Callable[[int], None] = lambda epoch: None,
    ) -> None:  # fmt: skip
        self._window, self._learner, self._settings = window, learner, settings
        self._generator, self._report = generator, report
        self._error = error or (lambda found, target, counted: window_error(found, target, counted, settings.kl))
        held = [i % HELD_OUT == HELD_OUT - 1 or i == len(examples) - 1 for i in range(len(examples))]
        apart = len(examples) >= 4
        self._learned = [one for one, out in zip(examples, held, strict=True) if not (apart and out)]
        self._held_out = [one for one, out in zip(examples, held, strict=True) if out or not apart]

    def train(self) -> tuple[float, float]:
        """Held-out errors of the rounded window, before and after; after is never the larger one.

        Raises ModelError where the error is not finite.
        """
        before, start = self.held_out(hard=True), self._learner.state()
        self._learn()
        after = self.held_out(hard=True)
        if after > before:
            self._learner.restore(start)
        return before, min(before, after)

    @torch.no_grad()
    def held_out(self, hard: bool) -> float:
        """Mean error on held-out samples, everything quantized."""
        self._learner.prepare(hard)
        found = [float(self._one(example)) for example in self._held_out]
        return sum(found) / len(found)

    def _learn(self) -> None:
        groups, settings = self._learner.groups(), self._settings
        steps = settings.epochs * math.ceil(len(self._learned) / settings.batch)
        if not groups or not steps:
            return
        optimizer = torch.optim.Adam(groups, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        least, kept, step = math.inf, self._learner.state(), 0
        for epoch in range(settings.epochs):
            for batch in self._batches():
                self._step(batch, optimizer, settings.beta(step / steps))
                schedule.step()
                step += 1
            now = self.held_out(hard=True)
            if now < least:
                least, kept = now, self._learner.state()
            self._report(epoch)
            if settings.hard and now > PATIENCE * least:
                break  # soft codes are decided at the end only, so that their error may rise on the way
        self._learner.restore(kept)

    def _step(self, batch: Sequence[Example], optimizer: Any, beta: float | None) -> None:
        self._learner.prepare()
        error = sum((self._one(example, self._generator) for example in batch), torch.zeros(())) / len(batch)
        total = error + self._settings.pull * self._learner.pull(beta).to(error.device)
        if not torch.isfinite(total):
            raise ModelError("learned rounding: the error is not finite; calibrate on other text (--calib) or lower lr")
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    def _one(self, example: Example, generator: torch.Generator | None = None) -> Tensor:
        """The error of one sample; with a generator some activations stay in float, those that come in too."""
        learner = self._learner
        given = self._mixed(example, generator)
        found = self._window.run(
            example.sample, given,
            lambda node, x, weight: learner.linear(node, x, weight, generator),
            lambda node, x: learner.range(node, x, generator),
        )  # fmt: skip
        return self._error(found, self._target(example), example.sample.counted)

    @torch.no_grad()
    def _target(self, example: Example) -> Outputs:
        if example.target is None:
            return self._window.run(example.sample, example.plain)
        return {node: goal.to(self._window.device) for node, goal in example.target.items()}

    def _mixed(self, example: Example, generator: torch.Generator | None) -> Values:
        """Block inputs, of which QDrop takes each element from the float model by chance."""
        share = self._settings.drop
        if not share or generator is None:
            return example.quantized
        return {n: _mix(q, example.plain[n], share, generator) for n, q in example.quantized.items()}

    def _batches(self) -> list[list[Example]]:
        order = torch.randperm(len(self._learned), generator=self._generator).tolist()
        size = self._settings.batch
        return [[self._learned[i] for i in order[at : at + size]] for at in range(0, len(order), size)]


def _mix(quantized: Any, plain: Any, share: float, generator: torch.Generator) -> Any:
    if not isinstance(quantized, Tensor) or not quantized.is_floating_point():
        return quantized
    return torch.where(torch.rand(quantized.shape, generator=generator) < share, plain, quantized)
