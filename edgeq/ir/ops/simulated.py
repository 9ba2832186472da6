"""qlinear in float, for judging many quantized graphs: the same values up to how sums are rounded, many times faster.

Inside `simulated()` a weight is quantized and dequantized once for as long as its tensor lives, and integer activations
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

from edgeq.ir.ops.grid import grid
from edgeq.ir.ops.matrix import ACT_BITS, FloatMatrix, SimulatedMatrix, Stored

_Known = tuple[str, "MutableMapping[Tensor, dict[str, _Held]]"]
_KNOWN: ContextVar[_Known | None] = ContextVar("_KNOWN", default=None)


@dataclass(frozen=True)
class _Held:
    """What a weight was dequantized to, and by which scales and zero points if it holds codes (they may change)."""

    values: Tensor
    scale: Tensor | None = None
    zero: Tensor | None = None

    def is_of(self, stored: Stored | None) -> bool:
        if stored is None:
            return self.scale is None
        return self.scale is stored.scale and self.zero is stored.zero


@contextmanager
def simulated(ranges: str = "minmax") -> Iterator[None]:
    """Simulate every qlinear of this thread; `ranges`: how groups of 2 to 4 bits get a scale (`edgeq.quant.ranges`)."""
    token = _KNOWN.set((ranges, WeakTensorKeyDictionary()))
    try:
        yield
    finally:
        _KNOWN.reset(token)


def simulation(
    w: Tensor, weight: str, act: str, stored: Stored | None = None
) -> FloatMatrix | SimulatedMatrix | None:
    """The simulated matrix of w `[N, K]`, its codes where it is `stored`; None outside of `simulated()`."""
    known = _KNOWN.get()
    if known is None:
        return None
    held = known[1].setdefault(w, {})
    if weight not in held or not held[weight].is_of(stored):
        held[weight] = _Held(_on_grid(w, weight, known[0])) if stored is None else _dequantized(stored, weight)
    values = held[weight].values
    return FloatMatrix(values) if act == "a16" else SimulatedMatrix(values, ACT_BITS[act])


def _dequantized(stored: Stored, weight: str) -> _Held:
    values = grid(stored.codes, stored.scale, stored.zero, weight=weight)
    return _Held(values, stored.scale, stored.zero)


def _on_grid(w: Tensor, weight: str, ranges: str) -> Tensor:
    from edgeq.quant.format import WeightFormat
    from edgeq.quant.quantizer import dequantize, quantize

    fmt = WeightFormat.parse(weight)
    return torch.from_numpy(dequantize(*quantize(w, fmt, ranges if fmt.bits <= 4 else "minmax"), fmt))
