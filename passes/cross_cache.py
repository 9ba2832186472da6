"""The type that cross-attention's keys and values are stored as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import fx

from edgeq.errors import UsageError
from edgeq.ir.graph import calls, site
from edgeq.ir.ops.attention import CROSS_CACHE_TYPES
from edgeq.passes.pass_ import Context, Pass, Report, Site


@dataclass(frozen=True)
class CrossCache(Pass):
    """Set `kv` of every `store_keys` (encoder) and `cross_attention` (decoder); other graphs stay as they are.

    Both entries of a model must get the same type: they share the caches.

    Attributes:
        kv: f16, i8 or f32.
    """

    name: ClassVar[str] = "cross-cache"
    kv: str = "f16"

    def __post_init__(self) -> None:
        if self.kv not in CROSS_CACHE_TYPES:
            known = ", ".join(CROSS_CACHE_TYPES)
            raise UsageError(f"an encoder's keys and values cannot be stored as {self.kv!r} (try kv8); known: {known}")

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Change the option of the calls."""
        found = calls(gm, "edgeq.store_keys", "edgeq.cross_attention")
        for node in found:
            node.kwargs = {**node.kwargs, "kv": self.kv}
        return Report(str(self), tuple(Site(site(node), f"keys and values as {self.kv}") for node in found))
