"""DB-LLM: two 0/1 planes and two scales a group."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.errors import ModelError
from edgeq.imports.held import Held
from edgeq.quant.format import WeightFormat


def planes(parts: dict[str, Tensor], size: int) -> Held:
    """`weight` float `[N, K]` with `alpha1 > 0 > alpha2` `[N, KG]` (flexible dual binarization, section 3.2).

    `B1 = [w >= (alpha1 + alpha2) / 2]`, then `B2 = [w - alpha1 B1 <= alpha2 / 2]`.
    """
    weight, first, second = parts["weight"].float(), parts["alpha1"].float(), parts["alpha2"].float()
    if not (bool((first >= 0).all()) and bool((second <= 0).all())):
        raise ModelError("alpha1 must be positive and alpha2 negative")
    groups = weight.reshape(len(weight), -1, size)
    a, b = first.unsqueeze(-1), second.unsqueeze(-1)
    upper = groups >= (a + b) / 2
    lower = groups - a * upper <= b / 2
    codes = (upper.to(torch.uint8) | lower.to(torch.uint8) << 1).reshape(weight.shape)
    scale = torch.stack([first, second], -1).flatten(1)
    return Held(codes, scale, None, WeightFormat(2, size, kind="planes"))
