"""AWQ: `qweight`, `qzeros`, `scales` in the `gemm` layout (AutoAWQ)."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.imports.bits import awq_unpacked
from edgeq.imports.held import Held, uniform


def awq(parts: dict[str, Tensor], size: int) -> Held:
    """A 4-bit weight from `qweight` i32 `[K, N / 8]`, `qzeros` i32 `[KG, N / 8]`, `scales` f16 `[KG, N]`.

    size: weights of a group, -1: a row.
    """
    codes = awq_unpacked(parts["qweight"]).T.contiguous()
    zero = awq_unpacked(parts["qzeros"]).T.to(torch.int16)
    return uniform(codes, parts["scales"].T, zero, 4, max(size, 0))
