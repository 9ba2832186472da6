"""The int8 codes and signs that decode steps quantize activations to, and a reference that rounds ties so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from edgeq.ir.ops import matrix
from edgeq.ir.ops.signs import sign_tokens
from edgeq.kernels.binary_pack import unpack_signs, words
from edgeq.kernels.kernel import Kernel
from edgeq.lower.plan import Plan
from edgeq.lower.values import Buffer
from edgeq.runtime.loader import Session

SIGNS = "binary_rows.pack_row"
FAMILIES = ("quantize.quantize", SIGNS)

class Steps:
    """Decode steps of a session run region by region, with every activation's codes kept."""

    def __init__(self, session: Session, plan: Plan) -> None:
        self.session, self.plan = session, plan
        self.regions = [
            [(c.kernel, c.args[c.kernel.params.index(p)]) for c in region.calls if c.kernel.family in FAMILIES
             for p in c.kernel.params if p.name == "q"]
            for region in next(e for e in plan.entries if e.name == "decode").regions
        ]  # fmt: skip
        self.widths = [_width(kernel, b) for made in self.regions for kernel, b in made if isinstance(b, Buffer)]

    def run(self, token: int, position: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """(logits f32[vocab], codes i8[K] of each quantization, in order)."""
        own, codes = self.session.private()[0], []
        for number, made in enumerate(self.regions):
            self.session.run_region("decode", number, [token], position)
            for kernel, b in made:
                assert isinstance(b, Buffer)
                codes.append(_codes(kernel, own[b.offset : b.offset + b.row_bytes]))
        start = self.plan.logits.offset
        return self.session.arena()[start : start + 4 * self.plan.vocab].view(np.float32).copy(), codes


def _width(kernel: Kernel, buffer: Buffer) -> int:
    """How many codes a call makes."""
    return kernel.options["K"] if kernel.family == SIGNS else buffer.row_bytes


def _codes(kernel: Kernel, stored: np.ndarray) -> np.ndarray:
    """i8[K] from what the kernel wrote; signs as x86-64 keeps them."""
    if kernel.family != SIGNS:
        return stored.view(np.int8).copy()
    K = kernel.options["K"]
    return unpack_signs(stored[: 4 * words(K)].view("<u4")[None], K)[0]


class Ties:
    """Quantizes like the reference executor, but rounds to the artifact's code where that is as near, within `width`.

    Attributes:
        moved: codes that took the artifact's side of a tie. wrong: codes of the artifact that are no nearest integer.
        total: all codes.
    """

    def __init__(self, width: float) -> None:
        self.width = width
        self.moved = self.wrong = self.total = self._next = 0
        self._given: list[np.ndarray] = []

    def expect(self, codes: list[np.ndarray]) -> None:
        """The artifact's codes i8[M, K] of each quantization of the next walk."""
        assert self._next == len(self._given), "the reference quantizes more or less often than the plan"
        self._given, self._next = codes, 0

    def quantize(self, x: Tensor, bits: int = 8) -> tuple[Tensor, Tensor]:
        """In the place of `matrix.quantize_tokens`; artifacts have 8 bits, or signs."""
        if bits == 1:
            return self._signs(x.float())
        absmax = x.float().abs().amax(-1).clamp(min=matrix.ABSMAX_FLOOR)
        exact = x.float() * (127.0 / absmax)[:, None]
        own, other = torch.round(exact), torch.from_numpy(self._given[self._next]).float()
        self._next += 1
        near = (other - exact).abs() <= 0.5 + self.width
        self.total, self.wrong = self.total + own.numel(), self.wrong + int((~near).sum())
        self.moved += int((near & (own != other)).sum())
        return torch.where(near, other, own), absmax / 127.0

    def _signs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What is near nothing may have either sign."""
        own, scale = sign_tokens(x)
        other = torch.from_numpy(self._given[self._next]).float()
        self._next += 1
        near = (own == other) | (x.abs() <= self.width * scale[:, None])
        self.total, self.wrong = self.total + own.numel(), self.wrong + int((~near).sum())
        self.moved += int((near & (own != other)).sum())
        return torch.where(near, other, own), scale

    @contextmanager
    def followed(self) -> Iterator[None]:
        """While the reference executor runs."""
        plain, matrix.quantize_tokens = matrix.quantize_tokens, self.quantize
        try:
            yield
        finally:
            matrix.quantize_tokens = plain
