"""Values rounded to a grid of integers and given back as floats."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.errors import VerifyError
from edgeq.ir.ops.library import composite

BITS = range(2, 9)


def largest_code(bits: int) -> float:
    """Codes of a symmetric grid reach from minus this to this: 127 at 8 bits. VerifyError of fewer than 2 or over 8."""
    if bits not in BITS:
        raise VerifyError(f"{bits} bits cannot be simulated; known: {BITS[0]} to {BITS[-1]}")
    return float(2 ** (bits - 1) - 1)


@composite("fake_quant(Tensor x, Tensor scale, *, int bits=8) -> Tensor")
def fake_quant(x: Tensor, scale: Tensor, *, bits: int = 8) -> Tensor:
    """x of any shape on one grid: `round(clamp(x * (1 / scale), -top, top)) * scale` with top = 2^(bits-1) - 1.

    scale: one positive number. Gradients pass straight through the rounding, and not where x is clipped (Bengio et al.
    2013; Esser et al. 2020, LSQ): adding `round(v) - v` to v is exact, so the values are those of plain rounding.
    """
    top, step = largest_code(bits), scale.to(x.dtype)
    v = (x * (1 / step)).clamp(-top, top)
    return (v + (torch.round(v) - v).detach()) * step
