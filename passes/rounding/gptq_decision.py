"""What GPTQ decides of the linears that read one activation, as tensors that a journal keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgeq.passes.rounding.gptq_columns import Rounded, round_columns
from edgeq.passes.rounding.hessian import RETRIES, Hessian, inverse_factor
from edgeq.quant.simulate import QuantSpec

JUDGED = 128  # rows of a weight that errors are reported of
TABLES = ("codes", "scale", "zero")
Decision = dict[str, Tensor]


@dataclass(frozen=True)
class Settings:
    """Options of the pass `gptq`; `method` is its `range`."""

    damp: float
    act_order: bool
    block: int
    method: str


def decide(
    weights: Sequence[Tensor], names: Sequence[str], moments: Hessian, quant: QuantSpec, settings: Settings
) -> list[Decision]:
    """Round weights f32 `[N, K]` of one input and one format as one weight; a decision each.

    A decision holds `tokens`, `dead`, and, unless there are no tokens or no damping makes their moments invertible,
    `damp`, `codes`, `scale`, `zero` (of an asymmetric format) and `errors`: relative squared errors of the output on
    those tokens, of rounding to nearest and of this.

    Raises UnsupportedError when a scale does not fit fp16; `names` are what it calls the weights.
    """
    facts = {"tokens": torch.tensor(moments.tokens), "dead": torch.tensor(moments.dead)}
    order = moments.matrix.diagonal().argsort(descending=True, stable=True) if settings.act_order else None
    factor = inverse_factor(moments.matrix if order is None else moments.matrix[order][:, order], settings.damp)
    if factor is None or not moments.tokens:
        return [facts for _ in weights]
    found = round_columns(
        torch.cat(list(weights)), factor.upper, quant,
        method=settings.method, order=order, block=settings.block, name=", ".join(names),
    )  # fmt: skip
    facts["damp"] = torch.tensor(factor.damp)
    parts = found.split([len(weight) for weight in weights])
    return [
        {**_tables(own), **facts, "errors": _errors(weight, own, moments.matrix, quant)}
        for weight, own in zip(weights, parts, strict=True)
    ]


def rounded_of(decision: Decision) -> Rounded | None:
    """The tables of a decision, None where there are none."""
    return Rounded(decision["codes"], decision["scale"], decision.get("zero")) if "codes" in decision else None


def why_not(decision: Decision, damp: float) -> str:
    """Why a decision has no tables."""
    if not decision["tokens"]:
        return "no token of the samples reaches it: left to be rounded to nearest"
    most = damp * 10**RETRIES
    return f"the moments of its input cannot be inverted, not damped by {most:g} either: left to be rounded to nearest"


def describe(decision: Decision, damp: float) -> str:
    """What a report says of a decision that has tables."""
    before, after = decision["errors"].tolist()
    own, dead = decision["damp"].item(), int(decision["dead"])
    notes = [f"error {before:.3g} -> {after:.3g}"]
    notes += [f"damped by {own:.3g}"] if own > 2 * damp else []
    notes += [f"{dead} of {decision['codes'].shape[1]} inputs are always 0"] if dead else []
    return ", ".join(notes)


def _tables(found: Rounded) -> Decision:
    held = zip(TABLES, (found.codes, found.scale, found.zero), strict=True)
    return {name: table for name, table in held if table is not None}


def relative_errors(weight: Tensor, found: Sequence[Tensor], matrix: Tensor) -> Tensor:
    """f32 `[len(found)]`: `tr(D H D^T) / tr(W H W^T)` of values f32 `[N, K]` each for a weight, over some rows."""
    some = torch.linspace(0, len(weight) - 1, min(len(weight), JUDGED)).long()
    own = weight[some]
    power = _square(own, matrix) or 1.0
    return torch.tensor([_square(values[some] - own, matrix) / power for values in found])


def _errors(weight: Tensor, found: Rounded, matrix: Tensor, quant: QuantSpec) -> Tensor:
    """f32 `[2]` of some rows: of rounding to nearest and of what was found."""
    some = torch.linspace(0, len(weight) - 1, min(len(weight), JUDGED)).long()
    own = weight[some]
    return relative_errors(own, (quant.weight(own), found[some].values(quant)), matrix)


def _square(rows: Tensor, matrix: Tensor) -> float:
    return ((rows @ matrix) * rows).double().sum().item()
