"""Calibration data as one compile uses it: what passes measure, what `best` is judged on, and the record of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from edgeq.compiling.options import Options
from edgeq.compiling.recipes import amount_of
from edgeq.errors import UsageError
from edgeq.frontend.source import Source
from edgeq.ir.graph import inputs, value

if TYPE_CHECKING:
    from edgeq.calibrate.data import Data
    from edgeq.calibrate.samples import Sample

Progress = Callable[[str, int, int], None]


class Measured:
    """The samples of a compile, made once for graphs that take the same inputs; the record of those that were made.

    Args:
        data: of one model. spec: as given to `--calib`. wanted: whether anything is measured.
    """

    def __init__(self, data: Data, spec: str, wanted: bool = True) -> None:
        self.data, self._spec, self.wanted = data, spec, wanted
        self._made: dict[str, list[Sample]] = {}

    def samples(self, gm: fx.GraphModule) -> list[Sample]:
        """What passes measure on this graph; [] where the data holds nothing that it takes."""
        kind = " ".join(f"{name}:{list(map(str, value(node).shape))}" for name, node in inputs(gm).items())
        if kind not in self._made:
            self._made[kind] = self.data.samples(gm)
        return self._made[kind]

    def held_out(self, gm: fx.GraphModule) -> list[Sample]:
        """Samples of the same data that no pass sees."""
        return self.data.held_out().samples(gm)

    def record(self) -> dict[str, Any]:
        """What the manifest keeps: the data by hash, how much of it, and what sums of floats depend on.

        tokens: rows measured in the entry with most of them; {} while nothing was measured.
        """
        most = max(self._made.values(), key=lambda made: (_rows(made), len(made)), default=[])
        if not most:
            return {}
        about = {"spec": self._spec, "description": self.data.description, "hash": self.data.hash}
        return {**about, "seed": self.data.seed, "samples": len(most), "tokens": _rows(most), **arithmetic()}


def open_measured(options: Options, source: Source, progress: Progress, wanted: bool = True) -> Measured:
    """Open `--calib`, or nothing where nothing is wanted.

    Raises:
        UsageError: data that cannot be read, or is not what `options.resolved` was measured on.
    """
    from edgeq.calibrate.data import NONE, open_data

    if not wanted:
        return Measured(open_data(NONE, source), options.calibration, wanted=False)
    samples, length = amount_of(options)
    data = open_data(
        options.calibration, source, options.seed, options.samples or samples, options.length or length, progress
    )
    known = options.resolved.calibration.get("hash") if options.resolved else None
    if known not in (None, data.hash):
        raise UsageError(
            f"--calib {options.calibration or data.description}: other data than the recipe was measured on (hash "
            f"{data.hash[:12]}, recorded {str(known)[:12]}): give that data, or another --calib to measure anew"
        )
    return Measured(data, options.calibration)


def arithmetic() -> dict[str, Any]:
    """What the last bits of a float sum depend on."""
    cpu = torch.backends.cpu.get_cpu_capability()
    return {"torch": torch.__version__.split("+")[0], "cpu": cpu, "threads": torch.get_num_threads()}


@contextmanager
def threads_of(options: Options) -> Iterator[None]:
    """Measure with as many threads as the compile that is repeated: sums are in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(options.resolved.calibration.get("threads", before) if options.resolved else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _rows(samples: list[Sample]) -> int:
    return sum(int(sample.counted.sum()) for sample in samples)
