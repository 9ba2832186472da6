"""GPTQ: `qweight`, `qzeros`, `scales`, `g_idx` (AutoGPTQ, GPTQModel)."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.errors import ModelError, UsageError
from edgeq.imports.bits import unpacked
from edgeq.imports.held import Held, uniform


def gptq(parts: dict[str, Tensor], bits: int, size: int, second: bool) -> Held:
    """A weight from its parts.

    Args:
        parts: `qweight` i32 `[K * bits / 32, N]`, `qzeros` i32 `[KG, N * bits / 32]`, `scales` `[KG, N]`, `g_idx` i32
            `[K]` or absent.
        bits: 2, 3, 4 or 8. size: weights of a group, -1: a row.
        second: `checkpoint_format` gptq_v2, whose zero points are what they are; the first format stores one less.
    """
    codes = unpacked(parts["qweight"], bits, 0).T.contiguous()
    size = max(size, 0)
    zero = unpacked(parts["qzeros"], bits, 1).T.to(torch.int16) + (0 if second else 1)
    scale = parts["scales"].T
    order = column_order(parts.get("g_idx"), size, codes.shape[1])
    zero = zero[: len(codes)]
    if zero.shape != scale.shape:
        raise ModelError(f"qzeros stand for {list(zero.shape)} zero points, scales are {list(scale.shape)}")
    return uniform(codes if order is None else codes[:, order], scale, zero, bits, size, order)


def column_order(groups: Tensor | None, size: int, columns: int) -> Tensor | None:
    """Columns sorted by group (act-order); None where they are in order already.

    UsageError where sorting does not make groups of one size.
    """
    if groups is None:
        return None
    groups = groups.long()
    natural = torch.arange(columns) // (size or columns)
    if torch.equal(groups, natural):
        return None
    order = torch.argsort(groups, stable=True)
    if not torch.equal(groups[order], natural):
        raise UsageError("g_idx makes groups of different sizes")
    return order
