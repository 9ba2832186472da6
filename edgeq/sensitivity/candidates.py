"""A unit in its candidate formats: quantized values, and what its linears and embeddings give with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx
from torch.nn.functional import linear

from edgeq.errors import EdgeqError, UsageError
from edgeq.evaluate.graph import EVERY_ROW, GraphModel, on_grid, rounded
from edgeq.ir.graph import arguments, op
from edgeq.quant.format import WeightFormat
from edgeq.sensitivity.result import HEAD
from edgeq.sensitivity.units import Part, weight_key


@dataclass(frozen=True)
class Asked:
    """What is measured.

    Attributes:
        linears, heads: candidate formats of linears, and of the output head with the token embedding.
        act: activations of linears that are measured, `a8`, `a4` or `a16`; float weights keep theirs in float.
        ranges: how groups of few bits get their scale, as lowering does it for this kind of model.
    """

    linears: tuple[str, ...]
    heads: tuple[str, ...]
    act: str = "a8"
    ranges: str = "minmax"

    def __post_init__(self) -> None:
        for text in self.linears + self.heads:
            WeightFormat.parse(text)
        if self.act == "a8s":
            raise UsageError("sensitivity measures a8: static scales (a8s) are chosen later, by the pass static-ranges")
        if not self.linears:
            raise UsageError("give at least one candidate format: w4g128, w8, ...")

    def formats(self, part: Part) -> tuple[str, ...]:
        """Candidates of a unit; of weights on a grid, that grid's format alone."""
        fixed = part.fixed()
        return (fixed,) if fixed else self.heads if part.kind == HEAD else self.linears

    def acts(self, part: Part, text: str) -> str:
        """Activations beside weights of that format, as the compiler chooses them."""
        if WeightFormat.parse(text).is_float:
            return "a16"
        return "a8" if part.kind == HEAD and self.act == "a4" else self.act


class Candidate:
    """A unit in one format, weights dequantized: what its nodes compute instead of their float values.

    Raises:
        EdgeqError of the kind that the format raises, with the unit's name before it.
    """

    def __init__(self, part: Part, text: str, asked: Asked, model: GraphModel) -> None:
        self._model, self._act = model, asked.acts(part, text)
        fmt = WeightFormat.parse(text)
        try:
            self._values = {key: _stored(part, model, node, fmt, asked) for key, node in part.weights.items()}
        except EdgeqError as error:
            raise type(error)(f"{part.modules[0]}: {error}") from error

    @torch.no_grad()
    def value(self, node: fx.Node, known: Mapping[fx.Node, Tensor], rows: slice = EVERY_ROW) -> Tensor:
        """What a linear or embedding of the unit computes; the output head, of those rows alone."""
        values, given = self._values[weight_key(node)], arguments(node)
        if op(node) == "aten.embedding":
            return values[known[given["indices"]]]
        x = known[given["input"]][..., rows if node is self._model.head else EVERY_ROW, :]
        return self.linear(node, x)

    @torch.no_grad()
    def linear(self, node: fx.Node, x: Tensor) -> Tensor:
        """What a linear computes of x `[..., K]`."""
        bias = arguments(node)["bias"]
        given = rounded(x.float(), self._act)
        return linear(given, self._values[weight_key(node)], None if bias is None else self._model.weight(bias).float())

    def rows(self, node: fx.Node, ids: Tensor) -> Tensor:
        """What an embedding looks up."""
        return self._values[weight_key(node)][ids]


def _stored(part: Part, model: GraphModel, weight: fx.Node, fmt: WeightFormat, asked: Asked) -> Tensor:
    values = model.weight(weight).float()
    return values if part.fixed() else on_grid(values, fmt, asked.ranges)


def together(texts: Sequence[str]) -> tuple[str, ...]:
    """Formats, each once."""
    return tuple(dict.fromkeys(str(WeightFormat.parse(text)) for text in texts))
