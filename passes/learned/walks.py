"""The two streams that a sweep compares: the float model, and the model quantized so far."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from edgeq.calibrate.quantized_walk import QuantizedWalk
from edgeq.calibrate.samples import Sample
from edgeq.calibrate.walk import Values, Walk
from edgeq.ir.graph import op


class FloatWalk(Walk):
    """A walk in which static ranges quantize nothing: what is learned is held against it."""

    def _value(self, node: fx.Node, sample: Sample, known: Values, held: dict[fx.Node, Tensor]) -> Any:
        if op(node) != "edgeq.fake_quant":
            return super()._value(node, sample, known, held)
        return self._finder(sample, known, held)(self._twins[node].args[0])


class LearnedWalk(QuantizedWalk):
    """A quantized walk whose static ranges have learned scales.

    Attributes:
        scales: `fake_quant` node -> f32 `[1]`.
    """

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.scales: dict[fx.Node, Tensor] = {}

    def _value(self, node: fx.Node, sample: Sample, known: Values, held: dict[fx.Node, Tensor]) -> Any:
        if node not in self.scales:
            return super()._value(node, sample, known, held)
        x = self._finder(sample, known, held)(self._twins[node].args[0])
        return torch.ops.edgeq.fake_quant(x, self.scales[node], **node.kwargs)
