"""Rounding learned over windows of layers that overlap, so that neighbours make up for each other's errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeq.errors import UsageError
from edgeq.passes.gptq import Gptq
from edgeq.passes.learned.reconstruction import Reconstruction
from edgeq.passes.learned.settings import Settings
from edgeq.passes.learned.sweep import Slide

STARTS = ("nearest", "gptq")


@dataclass(frozen=True)
class Cbq(Reconstruction):
    """Cross-block reconstruction (CBQ, ICLR 2025): codes and scales as they will be stored, and nothing else.

    Windows of layers learn to compute what they computed in float, on inputs of the model quantized so far: up or down
    for each weight, a scale for each group, a scale for each static range. Window 1 without kl is block reconstruction
    (BRECQ). The paper has rank 5 and soft rounding, which decides in thousands of steps; by default rounding is learned
    straight through for each weight, which takes a hundred.

    Attributes:
        window: layers that learn together; 0: all. overlap: of them that the next window takes up again.
        epochs: walks over the samples, a window each. batch: samples a step.
        rank: of LoRA-Rounding; 0: a number for each weight.
        hard: rounded weights forward, soft ones backward; false: soft, drawn to up or down by `pull`.
        lr, scale_lr, step_lr: of rounding, weights' scales, static scales.
        kl: weight of the divergence beside the squared error. drop: share of activations left in float, see `qdrop`.
        start: the rounding that learning starts from: `nearest`, or `gptq` (with `range=weighted`), of hard rounding.
        tune: walks over the samples in which, at the end, all scales are learned against the model's outputs; the
            whole model is in memory then, several times. tune_lr: of those.
    """

    name: ClassVar[str] = "cbq"
    window: int = 2
    overlap: int = 1
    epochs: int = 3
    batch: int = 1
    rank: int = 0
    hard: bool = True
    lr: float = 0.01
    scale_lr: float = 0.005
    step_lr: float = 0.005
    pull: float = 0.1
    kl: float = 0.0
    drop: float = 0.0
    start: str = "nearest"
    tune: int = 0
    tune_lr: float = 0.002

    def settings(self) -> Settings:
        """As the options say."""
        return Settings(
            self.epochs, self.batch, self.rank, self.hard, True, self.lr, self.scale_lr, self.step_lr, self.pull,
            self.kl, self.drop, self.seed,
        )  # fmt: skip

    def first(self) -> Gptq | None:
        """UsageError for starts that are not known, and soft rounding that does not start where the float weight is."""
        if self.start not in STARTS:
            raise UsageError(f"cbq: start={self.start} is not known; known: {', '.join(STARTS)}")
        if self.start == "nearest":
            return None
        if not self.hard:
            raise UsageError("cbq: soft rounding starts from the float weight: start=gptq needs hard=true")
        return Gptq(bits=self.bits, range="weighted")

    def end_to_end(self) -> Settings | None:
        """Scales alone, codes as they are."""
        if not self.tune:
            return None
        rate = self.tune_lr
        return Settings(self.tune, self.batch, 0, True, True, 0.0, rate, rate, 0.0, 0.0, 0.0, self.seed)

    def slide(self) -> Slide:
        """UsageError where windows would not move."""
        if self.window < 0 or not 0 <= self.overlap < max(self.window, 1):
            raise UsageError(f"{self}: give 0 <= overlap < window")
        return Slide(self.window, self.overlap)
