"""What a window learns, and how its linears compute with it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, fx
from torch.nn.functional import linear as matmul

from edgeq.ir.graph import arguments, op
from edgeq.passes.folds.weight_key import key_of
from edgeq.passes.learned.activations import LearnedStep, dropped, read
from edgeq.passes.learned.rounding import LearnedRounding
from edgeq.passes.learned.settings import Settings
from edgeq.passes.learned.soft_rounding import SoftRounding
from edgeq.passes.learned.straight_rounding import StraightRounding
from edgeq.passes.learned.window import Window
from edgeq.quant.simulate import QuantSpec

State = dict[str, dict[str, Tensor]]


class Learner:
    """Roundings and activation steps of one window; linears that share a weight share its rounding.

    Args:
        window: whose weights are read. quants: of its linears that are quantized.
        settings: of learning.
        known: weights that are decided already, by `key_of`; they are taken as they are.
        earlier: roundings of layers that the window before this one learned too, by key.
    """

    def __init__(
        self, window: Window, quants: Mapping[fx.Node, QuantSpec], settings: Settings, known: Mapping[str, Tensor],
        earlier: Mapping[str, LearnedRounding], generator: torch.Generator,
    ) -> None:  # fmt: skip
        self._settings, self._quants = settings, quants
        self.roundings: dict[str, LearnedRounding] = {}
        self._fixed: dict[str, Tensor] = {key: weight.to(window.device) for key, weight in known.items()}
        for linear in (node for node in window.linears if node in quants):
            key, weight = key_of(linear), window.weight(linear)
            if key in earlier:
                self.roundings[key] = earlier[key]
            elif key not in self._fixed and key not in self.roundings:
                if settings.round:
                    kind = StraightRounding if settings.hard else SoftRounding
                    self.roundings[key] = kind(weight, quants[linear], settings.rank, generator)
                else:
                    self._fixed[key] = quants[linear].weight(weight)
        self.steps = {node: _step(window, node) for node in window.ranges}
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
        key = key_of(node)
        if op(arguments(node)["input"]) != "edgeq.fake_quant":
            x = dropped(read(x, quant), x, self._settings.drop, generator)
        return matmul(x, self._fixed[key] if key in self._fixed else self._now[key])

    def range(self, node: fx.Node, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A static range's activation, of `Window.run`."""
        return dropped(self.steps[node].quantize(x), x, self._settings.drop, generator)

    def fixed(self, key: str) -> Tensor | None:
        """A weight f32 `[N, K]` that is not learned, on the CPU."""
        return self._fixed[key].cpu() if key in self._fixed else None

    def state(self) -> State:
        """Copies of everything learned, by key."""
        return {name: one.state() for name, one in self._all().items()}

    def restore(self, state: State) -> None:
        """Back to that `state`."""
        for name, one in self._all().items():
            one.restore(state[name])

    def _all(self) -> dict[str, LearnedRounding | LearnedStep]:
        return {**self.roundings, **{range_key(node): step for node, step in self.steps.items()}}


def range_key(node: fx.Node) -> str:
    """The weights that read a static range: the same in every entry of a model."""
    return "range of " + ", ".join(key_of(user) for user in node.users)


def _step(window: Window, node: fx.Node) -> LearnedStep:
    given = arguments(node)
    return LearnedStep(window.value(given["scale"]), int(given["bits"]))
