"""A weight whose rounding is learned: a code for each of its values, and a scale for each group."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import pad

from edgeq.passes.rounding.gptq_columns import Rounded
from edgeq.quant.ranges import RANGES
from edgeq.quant.simulate import QuantSpec
from edgeq.quant.stored_scale import stored_scale

NEAR = 0.45  # how far from a code that is given, towards the float weight, learning starts: it is that code


class LearnedRounding(ABC):
    """`w' = s * code(w / s0, V)`, V learned as `A1 A2` (LoRA-Rounding; CBQ, ICLR 2025) or whole.

    s0 is the scale that learning starts from, `s = s0 (1 + t)` with t learned; zero points stay. At the start A2 and V
    are 0 and the hard weight is round-to-nearest.

    Args:
        weight: f32 `[N, K]`, on the device that learns.
        quant: its grid; `method` finds the first scales.
        rank: of A1 A2; 0: V has a number for each weight.
        generator: of A1's first values. name: what errors call the weight.
        begin: a rounding to start from instead of round-to-nearest, on a grid of its own.

    Raises UnsupportedError when a scale does not fit fp16.
    """

    def __init__(
        self, weight: Tensor, quant: QuantSpec, rank: int, generator: torch.Generator, name: str = "weight",
        begin: Rounded | None = None,
    ) -> None:  # fmt: skip
        (rows, self._columns), self._name = weight.shape, name
        size = min(quant.group_size or self._columns, self._columns)
        # zeros that fill up a shorter last group change no range: every grid holds 0
        groups = pad(weight.float(), (0, -self._columns % size)).reshape(rows, -1, size)
        found = RANGES[quant.method](groups, quant.grid) if begin is None else _grid_of(begin, quant, weight.device)
        scale, zero = found
        self._symmetric, self._zero = quant.symmetric, zero.float()[..., None]
        self._low, self._high = -self._zero, 2**quant.weight_bits - 1 - self._zero
        self._scale = stored_scale(scale, name).float()[..., None]
        self._steps = groups / torch.where(self._scale == 0, torch.ones_like(self._scale), self._scale)
        if begin is not None:
            codes = pad(begin.codes.to(weight.device).float(), (0, -self._columns % size)).reshape(groups.shape)
            self._steps = (self._steps - (codes - self._zero)).clamp_(-NEAR, NEAR).add_(codes - self._zero)
        self._stretch = torch.zeros_like(self._scale, requires_grad=True)
        self._moves = _moves(rows, groups[0].numel(), rank, generator, weight.device)

    def choices(self) -> list[Tensor]:
        """What decides codes: A1 and A2, or V."""
        return self._moves

    def scales(self) -> list[Tensor]:
        """What stretches the scales."""
        return [self._stretch]

    @abstractmethod
    def weight(self) -> Tensor:
        """f32 `[N, K]` that a window computes with while it learns."""

    @abstractmethod
    def signed(self) -> Tensor:
        """`code - zero`, whole numbers f32 `[N, KG, L]`, as they would be stored now."""

    def pull(self, beta: float) -> Tensor:
        """How undecided codes are, to be made small; 0 of codes that are whole numbers."""
        return torch.zeros((), device=self._scale.device)

    @torch.no_grad()
    def hard(self) -> Tensor:
        """f32 `[N, K]` as it would be stored now."""
        return self._flat(self.signed() * self._stored().float()[..., None])

    @torch.no_grad()
    def harden(self) -> Rounded:
        """The numbers that are stored, on the CPU."""
        codes, zero = self._flat(self.signed() + self._zero), self._zero[..., 0]
        stored = [held.to(torch.uint8).cpu() for held in (codes, zero)]
        return Rounded(stored[0], self._stored().cpu(), None if self._symmetric else stored[1])

    def state(self) -> dict[str, Tensor]:
        """Copies of everything learned."""
        return {str(i): t.detach().clone() for i, t in enumerate([*self._moves, self._stretch])}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Back to that `state`."""
        for i, tensor in enumerate([*self._moves, self._stretch]):
            tensor.copy_(state[str(i)])

    def _moved(self) -> Tensor:
        """V `[N, KG, L]`."""
        moved = self._moves[0] if len(self._moves) == 1 else self._moves[0] @ self._moves[1]
        return moved.reshape(self._steps.shape)

    def _stretched(self) -> Tensor:
        return self._scale * (1 + self._stretch)

    def _stored(self) -> Tensor:
        return stored_scale(self._stretched().detach()[..., 0], self._name)

    def _flat(self, groups: Tensor) -> Tensor:
        return groups.flatten(1)[:, : self._columns]


def _grid_of(begin: Rounded, quant: QuantSpec, device: torch.device) -> tuple[Tensor, Tensor]:
    """Scale and zero point f32 `[N, KG]`."""
    scale = begin.scale.float().to(device)
    return scale, torch.full_like(scale, quant.grid.zero_point or 0) if begin.zero is None else begin.zero.to(device)


def _moves(rows: int, columns: int, rank: int, generator: torch.Generator, device: torch.device) -> list[Tensor]:
    """[A1 `[N, r]`, A2 `[r, K]`], A2 zero; or [V `[N, K]`], zero."""
    if not rank:
        return [torch.zeros(rows, columns, device=device, requires_grad=True)]
    first = torch.randn(rows, rank, generator=generator) / math.sqrt(rank)
    return [first.to(device).requires_grad_(), torch.zeros(rank, columns, device=device, requires_grad=True)]
