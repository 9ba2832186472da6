"""Weights whose columns are stored in another order than their input's channels."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.quant.format import WeightFormat

GROUP = 128  # columns that share a table
STEP = 16  # columns of a weight come in steps of


def format_of_kind(structured: bool) -> WeightFormat:
    """What `billm` stores: signs and a magnitude, or tables of four."""
    return WeightFormat.parse(f"{'w1' if structured else 'c4'}g{GROUP}")


def in_own_order(stored: Tensor, index: Tensor, columns: int) -> Tensor:
    """f32 `[N, K']` whose column j multiplies channel `index[j]` (none: -1) -> f32 `[N, columns]`, duplicates added."""
    real = index >= 0
    own = torch.zeros(len(stored), columns)
    return own.index_add_(1, index[real].long(), stored[:, real])


def padded_order(parts: list[Tensor]) -> Tensor:
    """Columns of parts one after the other, each but the last filled up to whole groups with -1: i32 `[K']`."""
    filled = []
    for number, part in enumerate(parts):
        step = STEP if number == len(parts) - 1 else GROUP
        filled.append(torch.nn.functional.pad(part, (0, -len(part) % step), value=-1))
    return torch.cat(filled).to(torch.int32)


def stored_bits(index: Tensor, rows: int, columns: int, fmt: WeightFormat) -> float:
    """Bits a weight `[rows, columns]` takes, tables, unused columns and the order itself included."""
    width = len(index)
    return (fmt.bits_per_weight(width) * width + 32 * width / rows) / columns
