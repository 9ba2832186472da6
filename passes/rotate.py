"""Rotations: activations whose outliers are spread over all channels, with the inverse folded into the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import fx

from edgeq.errors import UsageError
from edgeq.ir.graph import calls, remove_unused
from edgeq.passes.pass_ import Context, Pass, Report, Site
from edgeq.passes.rotations.rotate_heads import rotate_heads
from edgeq.passes.rotations.rotate_online import rotate_products
from edgeq.passes.rotations.rotate_stream import rotate_streams


@dataclass(frozen=True)
class Rotate(Pass):
    """QuaRot (NeurIPS 2024), sections 4.1 and 4.2: Hadamard matrices with random signs. Exact in real arithmetic.

    No values are read and nothing is measured. For activations of few bits: at 8 bits a token's own scale already
    suffices in most models, and weights in groups may lose.

    Attributes:
        r1: the residual stream of pre-norm models; gamma moves into linears, layer norms become RMS norms. Free, except
            that an embedding and a head that were one tensor become two.
        r2: values, a head at a time, between their linear and the one after attention. Free.
        r4: what the second linear of a feed-forward part reads, by `edgeq.hadamard` at run time.
        seed: of the signs.
    """

    name: ClassVar[str] = "rotate"
    r1: bool = True
    r2: bool = True
    r4: bool = False
    seed: int = 0

    def requires(self, gm: fx.GraphModule) -> None:
        """Valid, and before add-cache: attention must still be one op."""
        super().requires(gm)
        if calls(gm, "edgeq.cached_attention"):
            raise UsageError("the pass rotate follows values through attention: put it before add-cache")

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Rotate what can be, site by site."""
        changed: list[Site] = []
        declined: list[Site] = []
        for wanted, rotate in ((self.r1, rotate_streams), (self.r2, rotate_heads), (self.r4, rotate_products)):
            if wanted:
                did, refused = rotate(gm, self.seed)
                changed += did
                declined += refused
        remove_unused(gm)
        return Report(str(self), tuple(changed), tuple(declined))
