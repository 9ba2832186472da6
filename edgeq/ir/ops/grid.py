"""A weight that lies on its stored grid already: whole numbers, scales and zero points, chosen by a pass."""

from __future__ import annotations

from torch import Tensor

from edgeq.ir.ops.library import composite

SOURCES = "sources"  # in the meta of a table of a grid: the checkpoint's tensors that it was made of, name -> rank


@composite("grid(Tensor codes, Tensor scale, Tensor? zero=None, *, str weight) -> Tensor")
def grid(codes: Tensor, scale: Tensor, zero: Tensor | None = None, *, weight: str) -> Tensor:
    """What the numbers stand for once they are packed, f32 `[N, K]`: `(code - zero) * scale` at `w4g128a`.

    Args:
        codes: u8 `[N, K]`. scale: f16 `[N, KG]` (`p2`, `c4`: `[N, KG * numbers]`).
        zero: u8 `[N, KG]` zero points of an asymmetric format, f16 `[N, KG]` offsets of kind `min`, else None.
        weight: the format, a text of `edgeq.quant.format`. UsageError of a float format, which has no codes.
    """
    from edgeq.quant.format import WeightFormat
    from edgeq.quant.values import dequantized

    return dequantized(codes, scale, zero, WeightFormat.parse(weight))
