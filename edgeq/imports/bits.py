"""Small whole numbers packed into larger words."""

from __future__ import annotations

import torch
from torch import Tensor

AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # place of a word -> which of its eight columns lies there (AutoAWQ, `gemm`)


def unpacked(words: Tensor, bits: int, axis: int) -> Tensor:
    """Fields of int32 words along an axis, lowest bits first: u8, the axis `32 / bits` times as long.

    Fields of 3 bits may cross words: 32 of them fill three words without gaps (GPTQ).
    """
    moved = words.movedim(axis, -1).to(torch.int64) & 0xFFFFFFFF
    fields = _crossing(moved) if bits == 3 else _fields(moved, bits)
    return fields.to(torch.uint8).movedim(-1, axis)


def _fields(words: Tensor, bits: int) -> Tensor:
    shifts = torch.arange(0, 32, bits)
    return ((words.unsqueeze(-1) >> shifts) & ((1 << bits) - 1)).flatten(-2)


def _crossing(words: Tensor) -> Tensor:
    """32 fields of 3 bits from every three words."""
    low, middle, high = words.unflatten(-1, (-1, 3)).unbind(-1)
    below = low | (middle & 0x7FFF) << 32  # 47 bits: fields 0..14 end at bit 45, field 15 at 48
    above = middle >> 16 | high << 16
    fifteenth = (low | middle << 32) >> 45
    first = (below.unsqueeze(-1) >> torch.arange(0, 45, 3)) & 7
    last = (above.unsqueeze(-1) >> torch.arange(0, 48, 3)) & 7
    return torch.cat([first, (fifteenth & 7).unsqueeze(-1), last], -1).flatten(-2)


def awq_unpacked(words: Tensor) -> Tensor:
    """int32 `[R, C / 8]` of AWQ's `gemm` layout -> u8 `[R, C]`."""
    fields = unpacked(words, 4, 1).reshape(len(words), -1, 8)
    places = [AWQ_ORDER.index(column) for column in range(8)]
    return fields[:, :, places].reshape(len(words), -1)
