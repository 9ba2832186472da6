"""Three levels for any model: a fit, then GPTQ's errors over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeq.errors import UsageError
from edgeq.passes.gptq import Gptq
from edgeq.quant.bits import Bits


@dataclass(frozen=True)
class Ternary(Gptq):
    """`gptq` to the levels -1, 0, 1 of a group's scale, whatever the model's bits. A reconstruction.

    A group starts from TWN's threshold (0.75 of the mean magnitude); which weights are kept and their scale are then
    found in turns, columns counted as GPTQ's loss counts them (`range=weighted`).

    Attributes:
        bits: a ternary format, `t2` or `t1.6` with a group size, and activations.
        damp, act_order, block, sequential, range, even: as of `gptq`.
    """

    name: ClassVar[str] = "ternary"
    measures: ClassVar[bool] = True
    bits: str = "t2a8"
    range: str = "weighted"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits and Bits.parse(self.bits).weight.kind not in ("ternary", "trits"):
            raise UsageError(f"{self}: bits={self.bits} has no three levels; t2a8, t1.6a8, t2a8g64, ...")
