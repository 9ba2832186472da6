"""compressed-tensors (vLLM, llm-compressor): packed and plain whole numbers, FP8, MXFP4."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.errors import ModelError, UsageError
from edgeq.imports.bits import unpacked
from edgeq.imports.gptq import column_order
from edgeq.imports.held import Held, group_size, regrouped, uniform
from edgeq.quant.format import WeightFormat

FP8 = {torch.float8_e4m3fn: "e4m3", torch.float8_e5m2: "e5m2"}


def packed_integers(parts: dict[str, Tensor], bits: int, size: int) -> Held:
    """`pack-quantized`: `weight_packed` i32 `[N, K * bits / 32]`, codes with their middle added.

    `weight_scale` `[N, KG]`; `weight_zero_point` packed along rows i32 `[N * bits / 32, KG]` where asymmetric;
    `weight_shape` i64 `[2]`; `weight_g_idx` where columns were ordered.
    """
    rows, columns = (int(n) for n in parts["weight_shape"])
    codes = unpacked(parts["weight_packed"], bits, 1)[:, :columns].contiguous()
    if len(codes) != rows:
        raise ModelError(f"weight_packed has {len(codes)} rows, weight_shape says {rows}")
    scale = _by_rows(parts["weight_scale"], rows)
    size = _size(size, scale, columns)
    zero = torch.full(scale.shape, 1 << (bits - 1), dtype=torch.int16)
    if "weight_zero_point" in parts:
        zero = unpacked(parts["weight_zero_point"], bits, 0)[:rows].to(torch.int16)
    order = column_order(parts.get("weight_g_idx"), size, columns)
    return uniform(codes if order is None else codes[:, order], scale, zero, bits, size, order)


def integers(parts: dict[str, Tensor], bits: int, size: int) -> Held:
    """`int-quantized`, `naive-quantized`: `weight` i8 `[N, K]`, `weight_scale`, perhaps `weight_zero_point` i8."""
    weight, middle = parts["weight"].to(torch.int16), 1 << (bits - 1)
    if int(weight.min()) < -middle or int(weight.max()) >= middle:
        raise ModelError(f"codes from {int(weight.min())} to {int(weight.max())} are not of {bits} bits")
    scale = _by_rows(parts["weight_scale"], len(weight))
    zero = torch.full(scale.shape, middle, dtype=torch.int16)
    if "weight_zero_point" in parts:
        zero += _by_rows(parts["weight_zero_point"], len(weight)).to(torch.int16)
    codes = (weight + middle).to(torch.uint8)
    return uniform(codes, scale, zero, bits, _size(size, scale, weight.shape[1]))


def floats(parts: dict[str, Tensor], size: int, rows_of_block: int = 1) -> Held:
    """`float-quantized` and `fp8`: `weight` f8 `[N, K]`, `weight_scale` a tensor, row, group or block."""
    weight = parts["weight"]
    rows, columns = weight.shape
    scale = parts["weight_scale"].float()
    if rows_of_block > 1:
        scale = scale.repeat_interleave(rows_of_block, 0)[:rows]
    scale = _by_rows(scale, rows)
    size = _size(size, scale, columns)
    codes = weight.view(torch.uint8)
    values = weight.float()
    if not torch.isfinite(values).all():
        raise ModelError("holds NaN or infinity; the checkpoint is damaged")
    fmt = WeightFormat(8, group_size(size, columns), kind=FP8[weight.dtype])
    return Held(codes, regrouped(scale, size, columns), None, fmt)


def microscaled(parts: dict[str, Tensor]) -> Held:
    """`mxfp4-pack-quantized`: `weight_packed` u8 `[N, K / 2]`, low nibble first, `weight_scale` u8 E8M0 `[N, K / 32]`.

    Our levels count halves, so that a level is worth half of the block's scale.
    """
    packed, bytes_ = parts["weight_packed"], parts["weight_scale"]
    codes = torch.stack([packed & 15, packed >> 4], -1).flatten(1)
    if codes.shape[1] != 32 * bytes_.shape[1]:
        raise UsageError(f"{codes.shape[1]} columns in {bytes_.shape[1]} blocks; MX blocks have 32")
    scale = torch.ldexp(torch.full(bytes_.shape, 0.5), bytes_.to(torch.int32) - 127)
    return Held(codes, scale, None, WeightFormat.parse("mxfp4"))


def _by_rows(numbers: Tensor, rows: int) -> Tensor:
    """One number for all, or one a row, as `[N, KG]`."""
    flat = numbers if numbers.dim() == 2 else numbers.reshape(-1, 1)
    return flat.expand(rows, -1) if len(flat) == 1 else flat


def _size(size: int, scale: Tensor, columns: int) -> int:
    """Weights of a group, 0 of a row; ModelError where the scales say another."""
    size = max(size, 0)
    if scale.shape[1] != -(-columns // (size or columns)):
        raise ModelError(f"{scale.shape[1]} scales a row for {columns} columns in groups of {size}")
    return size
