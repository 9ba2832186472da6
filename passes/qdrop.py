"""Rounding learned a layer at a time while activations are quantized only now and then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeq.passes.learned.reconstruction import Reconstruction
from edgeq.passes.learned.settings import Settings
from edgeq.passes.learned.sweep import Slide


@dataclass(frozen=True)
class Qdrop(Reconstruction):
    """Layer reconstruction in which each element of an activation stays in float by chance (QDrop, ICLR 2022).

    So rounding does not fit the noise of activations on few samples. `drop=0` is AdaRound with quantized activations,
    `drop=1` learns weights alone. Errors are judged, and everything runs, with all activations quantized.

    Attributes:
        drop: share left in float; of a layer's input the same share comes from the float model.
        epochs, batch, rank, hard, lr, scale_lr, step_lr, pull: as `cbq`.
    """

    name: ClassVar[str] = "qdrop"
    drop: float = 0.5
    epochs: int = 3
    batch: int = 1
    rank: int = 0
    hard: bool = True
    lr: float = 0.01
    scale_lr: float = 0.005
    step_lr: float = 0.005
    pull: float = 0.1

    def settings(self) -> Settings:
        """As the options say."""
        return Settings(
            self.epochs, self.batch, self.rank, self.hard, True, self.lr, self.scale_lr, self.step_lr, self.pull,
            0.0, self.drop, self.seed,
        )  # fmt: skip

    def slide(self) -> Slide:
        """A layer at a time."""
        return Slide(1, 0)
