"""`edgeq compile --dry-run`: what the compile would give and take, before it reads a weight."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeq.compiling.options import Options
from edgeq.targets import runs_here

if TYPE_CHECKING:
    from edgeq.predict.blank_plan import Drawn
    from edgeq.predict.costs import Cost
    from edgeq.predict.folder_size import FolderSize
    from edgeq.predict.speeds import Speed

Progress = Callable[[str, int, int], None]
SCHEMA_VERSION = 1
SIZE_ERROR = 0.01


@dataclass(frozen=True)
class Prediction:
    """What a compile would give and take.

    Attributes:
        options: of the compile. drawn: its plan and tensors. size: of the folder's files.
        cost: time and memory of the compile. speeds: of every entry, rates with their error.
    """

    options: Options
    drawn: Drawn
    size: FolderSize
    cost: Cost
    speeds: list[Speed]

    def speed(self, name: str) -> Speed | None:
        """By name: `decode_128`, `prefill_512`, `text_128`."""
        return next((speed for speed in self.speeds if speed.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """What `edgeq compile --dry-run --json` prints."""
        from edgeq.artifact.storage import components

        drawn = self.drawn
        return {
            "schema_version": SCHEMA_VERSION,
            "dry_run": True,
            "model": drawn.source.name,
            "target": self.options.target.name,
            "bits": str(self.options.bits),
            "kind": drawn.kind,
            "context": drawn.context,
            "passes": list(drawn.passes),
            "size": {
                "total_bytes": self.size.total,
                "error": SIZE_ERROR,
                "files": dict(self.size.files),
                "exact": list(self.size.exact),
                "left_out": list(self.size.missing),
            },
            "storage": [vars(row) for row in components(self.size.tensors)],
            "compile": self.cost.to_json(),
            "speeds": [speed.to_json() for speed in self.speeds],
        }


def dry_run(options: Options, threads: int = 0, again: bool = False, progress: Progress | None = None) -> Prediction:
    """Predict a compile; the model's description is read, no weight is.

    Args:
        options: of the compile. threads: that the speeds are of, 0: one for each usable core.
        again: measure this machine's kernels even where their times are known.
        progress: called with (stage, done, total).

    Raises:
        ModelError, UnsupportedError, UsageError: as the compile, but for what is wrong with weights or data.
        ToolchainError: this machine's kernels cannot be made.
    """
    from edgeq.predict.blank_plan import draw
    from edgeq.predict.costs import compile_cost
    from edgeq.predict.folder_size import folder_size

    say = progress or (lambda stage, done, total: None)
    start = time.perf_counter()
    drawn = draw(options, say)
    drawing_s = time.perf_counter() - start
    cost = compile_cost(drawn, options, drawing_s)  # before this machine's kernels are made: a compile finds them not
    return Prediction(options, drawn, folder_size(drawn, options), cost, _speeds(drawn, options, threads, again, say))


def _speeds(drawn: Drawn, options: Options, threads: int, again: bool, say: Progress) -> list[Speed]:
    if not runs_here(options.target.name):
        from edgeq.predict.modelled_speeds import modelled_speeds

        return modelled_speeds(drawn, options.target)
    from edgeq.predict.speeds import measured_speeds

    return measured_speeds(drawn, options.target, threads, again, say)
