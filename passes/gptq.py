"""Weights rounded one column after the other, the later ones making up for what the earlier ones lose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, fx

from edgeq.errors import UsageError
from edgeq.passes.folds.calibrated import decision_name
from edgeq.passes.grids import put_on_grid
from edgeq.passes.pass_ import Context
from edgeq.passes.rounding.gptq_columns import Rounded
from edgeq.passes.rounding.gptq_decision import Decision, Settings, decide, describe, rounded_of, why_not
from edgeq.passes.rounding.group_ranges import METHODS
from edgeq.passes.rounding.hessian import Hessian
from edgeq.passes.rounding.rounding_pass import Common, RoundingPass
from edgeq.passes.rounding.sites import decision_key
from edgeq.quant.simulate import QuantSpec


@dataclass(frozen=True)
class Gptq(RoundingPass):
    """Codes, scales and zero points of every linear but the output's, as they will be stored. A reconstruction.

    GPTQ (ICLR 2023): columns are rounded one by one, and the error of each is spread over those not yet rounded as
    the second moments `H = E[x x^T]` of the linear's input say. The input is that of the model quantized so far,
    activations included. Where H is a multiple of the identity this is rounding to nearest. In a language model every
    token counts, the first (an attention sink) too; in an encoder those that are not padding.

    A column is rounded to the nearest of what its group can stand for, in any format: whole numbers, signs, a table of
    levels, floats of 8 bits, two planes. Of linears that share a weight the first one decides.

    Attributes:
        bits: what weights will be quantized to; empty: those of the compile, each linear its own.
        damp: added to H's diagonal, relative to its mean; ten times as much, at most four times, where H is singular.
        act_order: columns of large inputs first; groups then keep the ranges of the weight as it was. False: columns as
            they are, a group's range found when its first column comes.
        block: columns between two products that spread errors; changes no result.
        sequential: within a block of the model too, later linears see what the ones before them lose.
        range: how a group's range is found: `minmax`, `mse`, or `weighted`: least squared error, columns counted as
            GPTQ's loss counts them.
        even: half of H counts tokens as they are, half all alike; False: the published H.
    """

    name: ClassVar[str] = "gptq"
    measures: ClassVar[bool] = True
    bits: str = ""
    damp: float = 0.01
    act_order: bool = True
    block: int = 128
    sequential: bool = True
    range: str = "minmax"
    even: bool = False

    def __post_init__(self) -> None:
        if self.range not in METHODS:
            raise UsageError(f"gptq: range={self.range} is not known; known: {', '.join(METHODS)}")
        if not 0 < self.damp < 1 or self.block < 1:
            raise UsageError(f"{self}: damp lies between 0 and 1, block is positive")

    def common(self) -> Common:
        """Format, damping, order and weighing of tokens."""
        return Common(self.bits, self.damp, self.sequential, self.even)

    def decided(self, linear: fx.Node, quant: QuantSpec, context: Context) -> Rounded | None:
        """A linear's weight as it was decided; None where it is left to be rounded to nearest, or nothing was."""
        decision = context.decisions.get(decision_name(self, context), decision_key(linear, quant))
        return None if decision is None else rounded_of(decision)

    def round(
        self, weights: Sequence[Tensor], names: Sequence[str], moments: Hessian, quant: QuantSpec
    ) -> list[Decision]:  # fmt: skip
        """Weights of one input rounded as one."""
        return decide(weights, names, moments, quant, Settings(self.damp, self.act_order, self.block, self.range))

    def values(self, decision: Decision, quant: QuantSpec) -> Tensor | None:
        """A weight as stored."""
        found = rounded_of(decision)
        return None if found is None else found.values(quant)

    def put(self, gm: fx.GraphModule, linear: fx.Node, decision: Decision, quant: QuantSpec) -> tuple[str, str]:
        """On its grid."""
        found = rounded_of(decision)
        if found is None:
            return "", why_not(decision, self.damp)
        put_on_grid(gm, linear, found.codes, found.scale, found.zero, quant.format)
        return f"{quant.format}, {describe(decision, self.damp)}", ""
