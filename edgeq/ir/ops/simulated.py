"""qlinear in float, for judging many quantized graphs: the same values up to how sums are rounded, many times faster.

Inside `simulated()` a weight is quantized and dequantized once for as long as its tensor lives, and int8 activations
are rounded to their steps and multiplied in float.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from edgeq.ir.ops.matrix import FloatMatrix, quantize_tensor, quantize_tokens

_Known = tuple[str, "MutableMapping[Tensor, dict[str, Tensor]]"]
_KNOWN: ContextVar[_Known | None] = ContextVar("_KNOWN", default=None)


@dataclass(frozen=True)
class SimulatedMatrix:
    """values: f32 `[N, K]`, on the grid of the weight's format; activations are int8."""

    values: Tensor

    def apply(self, x: Tensor, x_scale: Tensor | None = None) -> Tensor:
        """x f32 `[M, K]`, quantized per token or with the scale given -> f32 `[M, N]`."""
        codes, scale = quantize_tokens(x) if x_scale is None else quantize_tensor(x, x_scale)
        return (codes @ self.values.T) * scale[:, None]


@contextmanager
def simulated(ranges: str = "minmax") -> Iterator[None]:
    """Simulate every qlinear of this thread; `ranges`: how 4-bit groups get their scale (`edgeq.quant.ranges`)."""
    token = _KNOWN.set((ranges, WeakTensorKeyDictionary()))
    try:
        yield
    finally:
        _KNOWN.reset(token)


def simulation(w: Tensor, weight: str, act: str) -> FloatMatrix | SimulatedMatrix | None:
    """The simulated matrix of w `[N, K]`; None outside of `simulated()`."""
    known = _KNOWN.get()
    if known is None:
        return None
    held = known[1].setdefault(w, {})
    if weight not in held:
        held[weight] = _on_grid(w, weight, known[0])
    return FloatMatrix(held[weight]) if act == "a16" else SimulatedMatrix(held[weight])


def _on_grid(w: Tensor, weight: str, ranges: str) -> Tensor:
    from edgeq.quant.format import WeightFormat
    from edgeq.quant.quantizer import dequantize, quantize

    fmt = WeightFormat.parse(weight)
    return torch.from_numpy(dequantize(*quantize(w, fmt, ranges if fmt.bits == 4 else "minmax"), fmt))
