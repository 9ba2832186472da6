"""Static activation scales learned from where a search put them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import fx

from edgeq.errors import UsageError
from edgeq.ir.graph import calls
from edgeq.passes.learned.reconstruction import Reconstruction
from edgeq.passes.learned.settings import Settings
from edgeq.passes.learned.sweep import Slide
from edgeq.passes.pass_ import Context


@dataclass(frozen=True)
class FineClipping(Reconstruction):
    """The fine stage of token-wise clipping (Outlier Suppression, NeurIPS 2022, section 4.2): steps learned as in LSQ+.

    After `static-ranges{method=tokenwise}` (the coarse stage) or any other method of it: each scale is moved so that
    windows of layers compute what they computed in float, weights being rounded to nearest or as they are on a grid.

    Attributes:
        window: layers that learn together; 0: all, against the model's outputs. overlap: of windows.
        epochs, batch: as `cbq`. lr: of scales, relative. kl: weight of the divergence.
    """

    name: ClassVar[str] = "fine-clipping"
    window: int = 1
    overlap: int = 0
    epochs: int = 3
    batch: int = 1
    lr: float = 0.01
    kl: float = 0.0

    def settings(self) -> Settings:
        """Only steps are learned."""
        return Settings(self.epochs, self.batch, 0, True, False, 0.0, 0.0, self.lr, 0.0, self.kl, 0.0, self.seed)

    def slide(self) -> Slide:
        """UsageError where windows would not move."""
        if self.window < 0 or not 0 <= self.overlap < max(self.window, 1):
            raise UsageError(f"{self}: give 0 <= overlap < window")
        return Slide(self.window, self.overlap)

    def _check(self, gm: fx.GraphModule, context: Context) -> None:
        super()._check(gm, context)
        if not calls(gm, "edgeq.fake_quant"):
            raise UsageError("the pass fine-clipping moves static ranges, and finds none: put static-ranges before it")
