"""Scales as they are stored: fp16, nothing that vanishes or overflows."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.errors import UnsupportedError

FP16_MAX = 65504.0
FP16_NORMAL = 2.0**-14  # below it fp16 has fixed steps of 2^-24


def stored_scale(scale: Tensor, name: str) -> Tensor:
    """`scale` in fp16, a tiny one rounded up to a multiple of 2^-24, so that it neither vanishes nor clips."""
    if (scale.abs() > FP16_MAX).any():
        raise UnsupportedError(f"{name}: a scale of {scale.abs().max():.3g} does not fit fp16; use --bits fp32")
    tiny = torch.ceil(scale.abs() * 2**24) * 2**-24 * torch.sign(scale)
    return torch.where(scale.abs() < FP16_NORMAL, tiny, scale).half()
