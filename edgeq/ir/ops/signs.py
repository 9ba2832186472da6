"""Activations as signs: one bit each and a scale a token."""

from __future__ import annotations

from torch import Tensor


def sign_tokens(x: Tensor) -> tuple[Tensor, Tensor]:
    """x `[..., K]` -> signs f32 `[..., K]` of -1 and 1 (of 0: 1), scale f32 `[...]` = mean |x|.

    The scale that leaves the least squared error (XNOR-Net, Rastegari et al. 2016).
    """
    return (x >= 0).float() * 2 - 1, x.float().abs().mean(-1)
