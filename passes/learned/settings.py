"""How a window learns."""

from __future__ import annotations

from dataclasses import dataclass

from edgeq.errors import UsageError

SOFT_SHARE = 0.2  # of the steps: before, nothing draws h to 0 or 1 (BRECQ, ICLR 2021; QDrop)
BETAS = (20.0, 2.0)  # of that pull, from first to last step (AdaRound, ICML 2020)
PATIENCE = 1.02  # a held-out error that much above the least one ends the learning


@dataclass(frozen=True)
class Settings:
    """What reconstruction passes have in common.

    Attributes:
        epochs: walks over the samples, for each window. batch: samples a step.
        rank: of a weight's rounding (LoRA-Rounding); 0: a number for each weight.
        hard: rounded weights in the forward pass, soft ones in the gradient; False: soft, drawn to 0 or 1 on the way.
        round: whether rounding (and the weights' scales) is learned; False: weights are rounded to nearest.
        lr, scale_lr, step_lr: of rounding, of the weights' scales, of static activation scales (both relative).
        pull: weight of the term that decides soft roundings. kl: of the divergence.
        drop: share of activations left in float (QDrop). seed: of all that is drawn.
    """

    epochs: int
    batch: int
    rank: int
    hard: bool
    round: bool
    lr: float
    scale_lr: float
    step_lr: float
    pull: float
    kl: float
    drop: float
    seed: int

    def __post_init__(self) -> None:
        if min(self.epochs, self.rank) < 0 or self.batch < 1:
            raise UsageError("epochs and rank are 0 or more, batch is 1 or more")
        if min(self.lr, self.scale_lr, self.step_lr, self.pull, self.kl) < 0:
            raise UsageError("learning rates, pull and kl are not negative")
        if not 0 <= self.drop <= 1:
            raise UsageError(f"drop={self.drop}: a share lies between 0 and 1")

    def beta(self, progress: float) -> float | None:
        """AdaRound's exponent at that share of the steps; None while nothing pulls."""
        if progress < SOFT_SHARE:
            return None
        first, last = BETAS
        return first + (last - first) * (progress - SOFT_SHARE) / (1 - SOFT_SHARE)
