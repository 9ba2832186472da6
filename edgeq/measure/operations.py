"""Where the time of an entry goes: its regions' measured times, merged over layers, beside the bytes they read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeq.measure.names import label

if TYPE_CHECKING:
    from edgeq.runtime.loader import Profile


@dataclass(frozen=True)
class Operation:
    """Regions of one entry that do the same in different layers; times and bytes are of one walk, all of them together.

    Attributes:
        name: kind and Hugging Face modules, layer numbers replaced by `*`.
        regions: how many.
        us: microseconds, waiting for the other threads included. wait_us: that waiting alone (thread 0's).
        weight_bytes: bytes of weights read. ops: multiply-adds, all rows.
    """

    name: str
    regions: int
    us: float
    wait_us: float
    weight_bytes: int
    ops: int

    @property
    def bytes_per_s(self) -> float:
        """Rate of reading weights; 0 where there are none."""
        return self.weight_bytes / self.us * 1e6 if self.us else 0.0


def operations(regions: Sequence[dict[str, Any]], profiles: Sequence[Profile]) -> list[Operation]:
    """Merge an entry's regions (of the manifest) by label, in the plan's order; empty when nothing was walked.

    A region's time is the median over `profiles`, each of which holds walks of the same length: one that the machine
    disturbed does not count.
    """
    walked = [profile for profile in profiles if profile.walks]
    if not walked:
        return []
    total = np.median([profile.total_ns / profile.walks for profile in walked], axis=0)
    inside = np.median([profile.inside_ns / profile.walks for profile in walked], axis=0)
    rows = walked[0].rows / walked[0].walks
    groups: dict[str, list[int]] = {}
    for index, region in enumerate(regions):
        groups.setdefault(label(region), []).append(index)
    return [
        Operation(
            name=name,
            regions=len(at),
            us=float(total[at].sum()) / 1e3,
            wait_us=float((total[at] - inside[at]).sum()) / 1e3,
            weight_bytes=sum(regions[i]["weight_bytes"] for i in at),
            ops=sum(_ops(regions[i], rows) for i in at),
        )
        for name, at in groups.items()
    ]


def _ops(region: dict[str, Any], rows: float) -> int:
    # A gemv takes one row whatever the entry is fed: the head sees the last row only.
    return round(region["ops"] * (1 if region["kind"] == "gemv" else rows))
