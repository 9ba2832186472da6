"""The quantized stream: samples on their way through a graph, some of whose linears are quantized already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from edgeq.calibrate.samples import Sample
from edgeq.calibrate.walk import Values, Walk
from edgeq.ir.graph import arguments, op
from edgeq.quant.simulate import QuantSpec

Quant = Callable[[fx.Node], "QuantSpec | None"]


class QuantizedWalk(Walk):
    """A walk in which chosen linears compute with their quantized weights and activations, all others in float.

    What is measured behind a quantized linear sees the error that it makes, and can make up for it (GPTQ, CBQ).

    Args:
        gm: the float graph; later changes of it do not matter.
        weights: reads stored tensors by name.
        samples: inputs of the graph.
        shown: nodes whose values `run` returns.
        quant: how a linear of `gm` reads its activation; None: in float. An activation that has a static range
            (`edgeq.fake_quant` before the linear) is on its grid already and is left as it is.

    Attributes:
        chosen: linear of `gm` -> its weight f32 `[N, K]` as stored; its float weight is not read. Put there before the
            block that holds the linear runs, and taken away after it to free the memory.
        carried: as in `Walk`.

    Raises:
        UsageError: a sample lacks an input that is needed.
    """

    def __init__(
        self, gm: fx.GraphModule, weights: Any, samples: Sequence[Sample], shown: set[fx.Node], quant: Quant
    ) -> None:
        super().__init__(gm, weights, samples, shown)
        self._quant = quant
        self.chosen: dict[fx.Node, Tensor] = {}

    def snapshot(self) -> list[Values]:
        """Where all samples are; no tensor is copied, as a walk never writes in place."""
        return [dict(values) for values in self.carried]

    def restore(self, snapshot: list[Values]) -> None:
        """Go back there: the blocks after it can run again. A snapshot may be restored more than once."""
        self.carried = [dict(values) for values in snapshot]

    def _value(self, node: fx.Node, sample: Sample, known: Values, held: dict[fx.Node, Tensor]) -> Any:
        if node not in self.chosen:
            return super()._value(node, sample, known, held)
        find, given = self._finder(sample, known, held), arguments(self._twins[node])
        x, quant = find(given["input"]), self._quant(node)
        if quant is not None and op(given["input"]) != "edgeq.fake_quant":
            x = quant.activation(x)
        bias = None if given["bias"] is None else find(given["bias"])
        return torch.nn.functional.linear(x, self.chosen[node], bias)
