"""What linears read while a window learns: activations on their grids, whole or by chance."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.ir.ops.fake_quant import largest_code
from edgeq.passes.learned.straight_through import rounded, same_gradient
from edgeq.quant.simulate import QuantSpec


class LearnedStep:
    """One scale for an activation, learned as LSQ does (ICLR 2020): through the rounding, and what is clipped.

    Args:
        scale: f32 `[1]` where learning starts, on the device that learns. bits: of the grid.
        learns: whether it moves.
    """

    def __init__(self, scale: Tensor, bits: int, learns: bool = True) -> None:
        self._learns, self._first, self._top = learns, scale.detach().clone(), largest_code(bits)
        self._stretch = torch.zeros_like(self._first, requires_grad=learns)

    def scales(self) -> list[Tensor]:
        """What stretches the scale."""
        return [self._stretch] if self._learns else []

    def scale(self) -> Tensor:
        """f32 `[1]`."""
        return self._first * (1 + self._stretch)

    def quantize(self, x: Tensor) -> Tensor:
        """x on the grid, in x's shape."""
        scale = self.scale()
        return rounded((x / scale).clamp(-self._top, self._top)) * scale

    def state(self) -> dict[str, Tensor]:
        """A copy of what is learned."""
        return {"stretch": self._stretch.detach().clone()}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Back to that `state`."""
        self._stretch.copy_(state["stretch"])


def read(x: Tensor, quant: QuantSpec) -> Tensor:
    """x as a linear of `quant` reads it; a dynamic scale clips nothing, so that the gradient is 1."""
    return x if quant.act == "none" else same_gradient(quant.activation(x.detach()), x)


def dropped(quantized: Tensor, plain: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """Each element left in float with probability `share` (QDrop, ICLR 2022, eq. 10); no generator: none is."""
    if not share or generator is None or quantized is plain:
        return quantized
    kept = torch.rand(plain.shape, generator=generator).to(plain.device) < share
    return torch.where(kept, plain, quantized)
