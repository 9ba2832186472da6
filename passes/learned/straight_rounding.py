"""Codes that are rounded while they are learned, with the gradient of what is not (straight through)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgeq.passes.learned.rounding import LearnedRounding


class StraightRounding(LearnedRounding):
    """`code = clip(round(w / s0 + V))`: a window computes with what will be stored; codes may move by any amount."""

    def weight(self) -> Tensor:
        """Rounded."""
        given = (self._steps, self._moved(), self._low, self._high, self._stretched())
        return self._flat(_Straight.apply(*given))

    def signed(self) -> Tensor:
        """What `weight` computes with."""
        return torch.clamp(self._steps + self._moved(), self._low, self._high).round_()


class _Straight(torch.autograd.Function):
    """`clip(round(steps + moved)) * scale`: written out, for a step's time is the number of its passes over weights."""

    @staticmethod
    def forward(ctx: Any, steps: Tensor, moved: Tensor, low: Tensor, high: Tensor, scale: Tensor) -> Tensor:
        x = steps + moved
        codes = torch.clamp(x, low, high)
        inside = codes == x
        ctx.save_for_backward(codes.round_(), inside, scale)
        return codes * scale

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        codes, inside, scale = ctx.saved_tensors
        by_scale = torch.linalg.vecdot(grads[0], codes).unsqueeze(-1) if ctx.needs_input_grad[4] else None
        by_move = (grads[0] * scale).mul_(inside) if ctx.needs_input_grad[1] else None
        return None, by_move, None, None, by_scale
