"""A weight whose codes are decided and whose scales are still learned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from edgeq.passes.rounding.gptq_columns import Rounded
from edgeq.quant.simulate import QuantSpec
from edgeq.quant.stored_scale import stored_scale


class LearnedScale:
    """`w' = (code - zero) * s (1 + t)`, t learned for each group (EfficientQAT, ACL 2025, E2E-QP).

    Args:
        found: the weight as it was decided. quant: its grid. device: where it is learned.
    """

    def __init__(self, found: Rounded, quant: QuantSpec, device: torch.device) -> None:
        self._found, self._columns = found, found.codes.shape[1]
        size = min(quant.group_size or self._columns, self._columns)
        zero = torch.tensor(quant.grid.zero_point or 0) if found.zero is None else found.zero[..., None]
        codes = pad(found.codes, (0, -self._columns % size)).reshape(len(found.codes), -1, size)
        self._signed = (codes.short() - zero).to(torch.int8 if quant.weight_bits < 8 else torch.int16).to(device)
        self._scale = found.scale.float()[..., None].to(device)
        self._stretch = torch.zeros_like(self._scale, requires_grad=True)

    def choices(self) -> list[Tensor]:
        """None: codes stay."""
        return []

    def scales(self) -> list[Tensor]:
        """What stretches the scales."""
        return [self._stretch]

    def weight(self) -> Tensor:
        """f32 `[N, K]`."""
        product = _Scaled.apply(self._signed, self._scale * (1 + self._stretch))
        return product.flatten(1)[:, : self._columns]

    @torch.no_grad()
    def hard(self) -> Tensor:
        """f32 `[N, K]` as it would be stored now."""
        return (self._signed * self._stored().float()[..., None]).flatten(1)[:, : self._columns]

    def harden(self) -> Rounded:
        """The numbers that are stored, on the CPU."""
        return Rounded(self._found.codes, self._stored().cpu(), self._found.zero)

    def pull(self, beta: float) -> Tensor:
        """0: nothing is undecided."""
        return torch.zeros((), device=self._scale.device)

    def state(self) -> dict[str, Tensor]:
        """A copy of what is learned."""
        return {"stretch": self._stretch.detach().clone()}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Back to that `state`."""
        self._stretch.copy_(state["stretch"])

    def _stored(self) -> Tensor:
        return stored_scale((self._scale * (1 + self._stretch)).detach()[..., 0], "weight")


class _Scaled(torch.autograd.Function):
    """Integers times a scale; only the integers are kept for the gradient."""

    @staticmethod
    def forward(ctx: Any, codes: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(codes)
        return codes * scale

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (codes,) = ctx.saved_tensors
        return None, torch.linalg.vecdot(grads[0], codes.to(grads[0].dtype)).unsqueeze(-1)
