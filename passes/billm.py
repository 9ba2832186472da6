"""Weights of one or two signs: salient columns apart from the rest, and errors made up for (BiLLM)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, fx

from edgeq.errors import UsageError
from edgeq.passes.grids import put_on_grid
from edgeq.passes.rounding.gptq_decision import Decision, relative_errors, why_not
from edgeq.passes.rounding.hessian import Hessian
from edgeq.passes.rounding.permuted import format_of_kind, in_own_order
from edgeq.passes.rounding.rounding_pass import Common, RoundingPass
from edgeq.passes.rounding.salient import Salient, round_salient
from edgeq.quant.simulate import QuantSpec
from edgeq.quant.values import dequantized


@dataclass(frozen=True)
class Billm(RoundingPass):
    """BiLLM (ICML 2024) as it is stored. A reconstruction; what linears read is gathered by `edgeq.columns`.

    Columns whose rounding costs most are salient: they keep two signs and two magnitudes a row. The others of a row are
    split by magnitude, each part two values. Both are tables of four a row and 128 columns (`c4`), so salient columns
    stand behind the rest in groups of their own, and one linear reads all. How many are salient is searched: least
    error weighed as GPTQ's loss does, a stored bit counting four times. Linears of one input share the choice, so that
    they share the gather and stay one linear. The error of each column is spread over those still to come.

    `structured`: one sign a weight and a magnitude a row and 128 columns (`w1`), columns sorted by what they cost;
    salient columns come twice, the second time for what the first leaves.

    Attributes:
        damp, sequential, even: as of `gptq`.
        structured: a bit a weight, two of salient columns.
        inner: columns of a group make up for each other too; False, as published: only later groups.
        quantiles: breaks tried between small and large weights.
        rounds: of nearest values and least squares after that; 0, as published: none.
        most: the largest share of columns that may be salient.
    """

    name: ClassVar[str] = "billm"
    measures: ClassVar[bool] = True
    damp: float = 0.01
    structured: bool = False
    inner: bool = True
    quantiles: int = 17
    rounds: int = 4
    most: float = 0.25
    sequential: bool = True
    even: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.damp < 1 or not 0 <= self.most < 1 or self.quantiles < 1 or self.rounds < 0:
            raise UsageError(f"{self}: damp and most lie between 0 and 1, quantiles and rounds are not negative")

    def common(self) -> Common:
        """Its format follows from `structured`, activations from the compile's bits."""
        return Common("", self.damp, self.sequential, self.even)

    def round(
        self, weights: Sequence[Tensor], names: Sequence[str], moments: Hessian, quant: QuantSpec
    ) -> list[Decision]:  # fmt: skip
        """Weights of one input as one: they share the salient columns."""
        facts = {"tokens": torch.tensor(moments.tokens), "dead": torch.tensor(moments.dead)}
        settings = Salient(self.damp, self.structured, self.inner, self.quantiles, self.rounds, self.most)
        found = round_salient(torch.cat(list(weights)), moments.matrix, settings, ", ".join(names))
        if found is None or not moments.tokens:
            return [facts for _ in weights]
        shared = {**facts, "damp": torch.tensor(found.damp), "index": found.index,
                  "salient": torch.tensor(found.salient), "bits": torch.tensor(found.bits)}  # fmt: skip
        sizes = [len(weight) for weight in weights]
        parts = zip(weights, found.codes.split(sizes), found.scale.split(sizes), strict=True)
        decisions: list[Decision] = [{**shared, "codes": codes, "scale": scale} for _, codes, scale in parts]
        for weight, decision in zip(weights, decisions, strict=True):
            own = [quant.weight(weight), self._own(decision, weight.shape[1])]
            decision["errors"] = relative_errors(weight, own, moments.matrix)
            decision["columns"] = torch.tensor(weight.shape[1])
        return decisions

    def values(self, decision: Decision, quant: QuantSpec) -> Tensor | None:
        """In the columns' own order."""
        return self._own(decision, int(decision["columns"])) if "codes" in decision else None

    def put(self, gm: fx.GraphModule, linear: fx.Node, decision: Decision, quant: QuantSpec) -> tuple[str, str]:
        """Behind a gather, on a grid of more columns."""
        if "codes" not in decision:
            return "", why_not(decision, self.damp)
        fmt = format_of_kind(self.structured)
        put_on_grid(gm, linear, decision["codes"], decision["scale"], None, fmt, index=decision["index"])
        before, after = decision["errors"].tolist()
        count, bits = int(decision["salient"]), float(decision["bits"])
        said = f"{fmt}, {count} of {int(decision['columns'])} columns salient, {bits:.2f} bits a weight with tables and"
        return f"{said} order, error {after:.3g} ({before:.3g} as {quant.format})", ""

    def _own(self, decision: Decision, columns: int) -> Tensor:
        stored = dequantized(decision["codes"], decision["scale"], None, format_of_kind(self.structured))
        return in_own_order(stored, decision["index"], columns)
