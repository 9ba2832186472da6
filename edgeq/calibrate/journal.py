"""What calibration decided, kept in memory or in a folder from which an interrupted compile continues."""

from __future__ import annotations

from torch import Tensor


class Decisions:
    """What passes decided at their sites, in memory.

    Entries of a model share weights: what is decided for one holds for all. `step` is the pass and those before it
    (`Context.step`), `key` names the weights concerned (`FoldPoint.key`).
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], dict[str, Tensor]] = {}

    def get(self, step: str, key: str) -> dict[str, Tensor] | None:
        """The tensors put for `key` in that step, None when there are none yet."""
        return self._kept.get((step, key))

    def put(self, step: str, key: str, tensors: dict[str, Tensor]) -> None:
        """Keep the tensors of `key`."""
        self._kept[step, key] = dict(tensors)
