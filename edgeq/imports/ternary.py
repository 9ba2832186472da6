"""Ternary weights: BitNet b1.58 and Tequila."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.errors import ModelError
from edgeq.imports.held import Held
from edgeq.quant.format import WeightFormat

PACKED_ROWS = 4  # of one byte
FLOOR = 1e-5  # BitNet's, of a mean magnitude
DEAD_LAMBDA = 1e-3  # Tequila's, of weights in the dead zone


def bitnet_packed(parts: dict[str, Tensor], inverse: bool) -> Held:
    """`weight` u8 `[N / 4, K]`, two bits a code, row `i * N / 4 + j` in bits `2 i` of row j; `weight_scale` `[1]`.

    inverse: transformers' BitLinear divides by weight_scale, AutoBitLinear multiplies.
    """
    packed = parts["weight"]
    codes = torch.cat([(packed >> 2 * i) & 3 for i in range(PACKED_ROWS)])
    if int(codes.max()) > 2:
        raise ModelError("a packed code is 3; ternary codes are 0, 1 and 2")
    scale = parts["weight_scale"].float().reshape(())
    return _by_tensor(codes, 1 / scale if inverse else scale)


def bitnet_master(weight: Tensor) -> Held:
    """Float weights that BitNet rounds as it runs: one scale, the mean magnitude."""
    scale = weight.abs().mean().clamp(min=FLOOR)
    codes = (torch.round(weight * (1 / scale)).clamp(-1, 1) + 1).to(torch.uint8)
    return _by_tensor(codes, scale)


def _by_tensor(codes: Tensor, scale: Tensor) -> Held:
    """One scale for all rows."""
    return Held(codes, scale.reshape(1, 1).expand(len(codes), 1), None, WeightFormat(2, 0, kind="ternary"))


def tequila(weight: Tensor, size: int) -> Held:
    """Float weights that Tequila rounds: a group's scale is its mean magnitude, its dead zone half of that.

    What lies in the dead zone adds `1e-3 w` to its output whatever the input: a bias.
    """
    rows, columns = weight.shape
    groups = weight.reshape(rows, -1, size)
    scale = groups.abs().mean(-1, keepdim=True)
    live = groups.abs() > scale / 2
    codes = torch.where(live, torch.sign(groups), torch.zeros(())) + 1
    bias = torch.where(live, torch.zeros(()), groups).sum((1, 2)) * DEAD_LAMBDA
    fmt = WeightFormat(2, size, kind="ternary")
    return Held(codes.to(torch.uint8).reshape(rows, columns), scale.squeeze(-1), None, fmt, bias=bias)
