"""How much worse an output gets when a fold point's linears are quantized: what scales and shifts are chosen by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx
from torch.nn import functional

from edgeq.ir.graph import arguments
from edgeq.ir.values import Reads, weight_value
from edgeq.passes.folds.cones import Cone, cones
from edgeq.passes.folds.fold_points import FoldPoint

if TYPE_CHECKING:
    from edgeq.calibrate.stream import Captured
    from edgeq.quant.simulate import QuantSpec

QuantOf = Callable[[fx.Node], "QuantSpec"]

def wanted_by(point: FoldPoint) -> set[fx.Node]:
    """Activations that `Objective` needs of the point's block."""
    read = {linear.args[0] for linear in point.consumers}
    outside = {node for cone in cones(point.consumers) for node in cone.outside if node.op != "placeholder"}
    return {node for node in (*read, *outside, point.activation) if isinstance(node, fx.Node)}


class Objective:
    """Squared error of what follows the linears of a fold point, relative to its float value, on calibration tokens.

    The following output is the attention's for q, k and v of a norm, the activated product for gate and up, else the
    linears' own (Outlier Suppression+, section 4.2). Weights `W s` and activations `(X - z) / s` are quantized as
    given and dequantized; the float target is computed once.

    Args:
        point: where; its consumers' weights are read as the graph has them now.
        captured: values of the point's block, float.
        weights: the checkpoint.
        quant: what becomes of weights and activations, for all linears or of each.
        tokens: rows that are measured at most. Attention mixes rows, so there whole samples are taken, at least one.
    """

    def __init__(
        self, point: FoldPoint, captured: Captured, weights: Reads, quant: QuantSpec | QuantOf, tokens: int = 512
    ) -> None:
        self._point, self._quant = point, _of_each(point, quant)
        self._parts = [
            part for cone in _measurable(point, captured) for part in _parts(cone, captured, weights, tokens)
        ]
        self._power = sum(float(part.target.double().square().sum()) for part in self._parts)

    @property
    def judges(self) -> list[fx.Node]:
        """The nodes whose values are compared."""
        return list(dict.fromkeys(part.cone.judge for part in self._parts))

    def error(self, scale: Tensor | None = None, shift: Tensor | None = None) -> float:
        """Squared error over squared target of `(X - shift) / scale`, f32 `[K / repeat]` each; None: no such step."""
        s, z = (None if t is None else self._point.spread(t).float() for t in (scale, shift))
        with torch.no_grad():
            stored = {linear: self._weight(linear, s) for part in self._parts for linear in part.cone.linears}
            total = sum(part.error(stored, s, z, self._quant) for part in self._parts)
        return total / self._power if self._power else total

    def _weight(self, linear: fx.Node, scale: Tensor | None) -> Tensor:
        w = next(part.linears[linear][0] for part in self._parts if linear in part.linears)
        return self._quant[linear].weight(w if scale is None else w * scale)


class _Part:
    """One cone on some rows, or on one whole sample."""

    def __init__(self, cone: Cone, inputs: dict[fx.Node, Tensor], linears: dict[fx.Node, tuple[Tensor, Tensor | None]],
                 other: dict[fx.Node, Any], counted: Tensor | None, weights: Reads) -> None:  # fmt: skip
        self.cone, self.linears = cone, linears
        self._inputs, self._other, self._counted, self._weights = inputs, other, counted, weights
        with torch.no_grad():
            made = {linear: functional.linear(self._read(linear), *linears[linear]) for linear in linears}
            self.target = self._judge(made)

    def error(
        self, stored: dict[fx.Node, Tensor], s: Tensor | None, z: Tensor | None, quant: Mapping[fx.Node, QuantSpec]
    ) -> float:
        acts: dict[Any, Tensor] = {}
        made: dict[fx.Node, Tensor] = {}
        for linear, (w, b) in self.linears.items():
            key = linear.args[0], quant[linear].act, quant[linear].act_bits
            if key not in acts:
                acts[key] = quant[linear].activation(_moved(self._read(linear), s, z))
            bias = b if z is None else functional.linear(z, w, b)
            made[linear] = functional.linear(acts[key], stored[linear], bias)
        return float((self._judge(made) - self.target).double().square().sum())

    def _read(self, linear: fx.Node) -> Tensor:
        source = linear.args[0]
        assert isinstance(source, fx.Node)
        return self._inputs[source]

    def _judge(self, made: dict[fx.Node, Tensor]) -> Tensor:
        found = self.cone.value(made, self._other.__getitem__, self._weights)
        rows = found.flatten(0, -2)
        return rows[self._counted] if self._counted is not None and len(self._counted) == len(rows) else rows


def _of_each(point: FoldPoint, quant: QuantSpec | QuantOf) -> dict[fx.Node, QuantSpec]:
    return {linear: quant(linear) if callable(quant) else quant for linear in point.consumers}


def _moved(x: Tensor, s: Tensor | None, z: Tensor | None) -> Tensor:
    x = x if z is None else x - z
    return x if s is None else x / s


def _measurable(point: FoldPoint, captured: Captured) -> list[Cone]:
    """The point's cones; one that reads what another block made is replaced by the linears' own outputs."""
    found: dict[fx.Node, Cone] = {}
    for cone in cones(tuple(linear for linear in point.consumers if linear.args[0] in captured)):
        known = all(node.op == "placeholder" or node in captured for node in cone.outside)
        for part in [cone] if known else [Cone((linear,)) for linear in cone.linears]:
            found.setdefault(part.judge, part)
    return list(found.values())


def _parts(cone: Cone, captured: Captured, weights: Reads, tokens: int) -> list[_Part]:
    linears = {linear: _stored(linear, weights) for linear in cone.linears}
    sources = {source for linear in linears if isinstance(source := linear.args[0], fx.Node)}
    if cone.by_rows:
        inputs = {source: _some(torch.cat(captured.rows(source)), tokens) for source in sources}
        return [_Part(cone, inputs, linears, {}, None, weights)]
    parts: list[_Part] = []
    taken = 0
    for i, sample in enumerate(captured.samples):
        if taken >= tokens:
            break
        other = {n: _outside(n, i, sample.inputs, captured) for n in cone.outside}
        inputs = {source: captured.values(source)[i] for source in sources}
        parts.append(_Part(cone, inputs, linears, other, sample.counted, weights))
        taken += parts[-1].target.shape[0]
    return parts


def _outside(node: fx.Node, i: int, given: dict[str, Tensor], captured: Captured) -> Tensor:
    return given[str(node.target)] if node.op == "placeholder" else captured.values(node)[i]


def _stored(linear: fx.Node, weights: Reads) -> tuple[Tensor, Tensor | None]:
    given = arguments(linear)
    bias = given["bias"]
    return weight_value(given["weight"], weights).float(), None if bias is None else weight_value(bias, weights).float()


def _some(rows: Tensor, tokens: int) -> Tensor:
    """At most that many rows, evenly spaced."""
    if len(rows) <= tokens:
        return rows
    return rows[torch.linspace(0, len(rows) - 1, tokens).long()]


def least(error: Callable[[int], float], count: int, stride: int = 1) -> tuple[int, float]:
    """(candidate, its error) of least error among 0..count-1; of equals the first, a scale that changes less.

    stride: only every so many candidates and the last one are tried at first, then those around the best of them, which
    finds the same one where the error falls and rises once.
    """
    known = {i: error(i) for i in sorted({*range(0, count, stride), count - 1})}
    start = min(known, key=lambda i: (known[i], i))
    for i in range(max(0, start - stride + 1), min(count, start + stride)):
        if i not in known:
            known[i] = error(i)
    found = min(known, key=lambda i: (known[i], i))
    return found, known[found]
