"""What a window learns, and how its linears compute with it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, fx
from torch.nn.functional import linear as matmul

from edgeq.ir.graph import arguments, op
from edgeq.passes.folds.weight_key import key_of
from edgeq.passes.learned.activations import LearnedStep, dropped, read
from edgeq.passes.learned.learned_scale import LearnedScale
from edgeq.passes.learned.rounding import LearnedRounding
from edgeq.passes.learned.settings import Settings
from edgeq.passes.learned.window import Window
from edgeq.quant.simulate import QuantSpec

State = dict[str, dict[str, Tensor]]
Learns = LearnedRounding | LearnedScale


class Learner:
    """Roundings and activation steps of one window; linears that share a weight share its rounding.

    Args:
        quants: the window's linears that are quantized. settings: of learning.
        roundings: weights that are learned, by `key_of`. fixed: of linears whose weight is not, f32 `[N, K]` as stored.
        steps: static scales, by `fake_quant` node.
    """

    def __init__(
        self, quants: Mapping[fx.Node, QuantSpec], settings: Settings, roundings: Mapping[str, Learns],
        fixed: Mapping[fx.Node, Tensor], steps: Mapping[fx.Node, LearnedStep],
    ) -> None:  # fmt: skip
        self._quants, self._settings = quants, settings
        self.roundings, self.fixed, self.steps = roundings, fixed, steps
        self._now: dict[str, Tensor] = {}

    def groups(self) -> list[dict[str, object]]:
        """Parameter groups of an optimizer."""
        roundings, steps, own = self.roundings.values(), self.steps.values(), self._settings
        found = [
            ([p for one in roundings for p in one.choices()], own.lr),
            ([p for one in roundings for p in one.scales()], own.scale_lr),
            ([p for one in steps for p in one.scales()], own.step_lr),
        ]
        return [{"params": params, "lr": lr} for params, lr in found if params and lr]

    def prepare(self, hard: bool = False) -> None:
        """Make the weights that `linear` uses until the next call; hard: as they would be stored now."""
        self._now = {key: one.hard() if hard else one.weight() for key, one in self.roundings.items()}

    def pull(self, beta: float | None) -> Tensor:
        """How undecided roundings are; 0 without beta."""
        pulls = [] if beta is None else [one.pull(beta) for one in self.roundings.values()]
        return torch.stack(pulls).sum() if pulls else torch.zeros(())

    def linear(self, node: fx.Node, x: Tensor, weight: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A linear's product, of `Window.run`; generator: draws which activations stay in float."""
        quant = self._quants.get(node)
        if quant is None:
            return matmul(x, weight)
        if op(arguments(node)["input"]) != "edgeq.fake_quant":
            x = dropped(read(x, quant), x, self._settings.drop, generator)
        return matmul(x, self.fixed[node] if node in self.fixed else self._now[key_of(node)])

    def range(self, node: fx.Node, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A static range's activation, of `Window.run`."""
        return dropped(self.steps[node].quantize(x), x, self._settings.drop, generator)

    def state(self) -> State:
        """Copies of everything learned, by key."""
        return {name: one.state() for name, one in self._all().items()}

    def restore(self, state: State) -> None:
        """Back to that `state`, as far as it goes."""
        for name, one in self._all().items():
            if name in state:
                one.restore(state[name])

    def _all(self) -> dict[str, Learns | LearnedStep]:
        return {**self.roundings, **{range_key(node): step for node, step in self.steps.items()}}


def range_key(node: fx.Node) -> str:
    """The weights that read a static range: the same in every entry of a model."""
    return "range of " + ", ".join(key_of(user) for user in node.users)


def step_of(window: Window, node: fx.Node, start: Tensor | None = None, learns: bool = True) -> LearnedStep:
    """The scale of a `fake_quant`; start: f32 `[1]`, None: where the graph has it. learns: whether it moves."""
    given = arguments(node)
    scale = window.value(given["scale"]) if start is None else start.to(window.device)
    return LearnedStep(scale, int(given["bits"]), learns)
