"""What a finished artifact keeps of its promises: bytes counted, perplexity and latency measured on what will run."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeq.budget.goal import Goal
from edgeq.budget.held_out import HeldOut, Increase, increase, losses
from edgeq.budget.weigh import folder_bytes
from edgeq.compiling.compiler import Written
from edgeq.compiling.options import Options
from edgeq.evaluate.perplexity import second_half
from edgeq.lower.build import WEIGHTS, write_library
from edgeq.measure.latency import latency, write_inputs
from edgeq.measure.speed import decode_rate
from edgeq.runtime.loader import Session
from edgeq.targets import find, runs_here

Progress = Callable[[str, int, int], None]
MEASURED, MODELLED = "measured here", "modelled"
DECODED, RUNS = 64, 7
RUN_S = 2.0


@dataclass(frozen=True)
class Scored:
    """The text of a promise about perplexity, and what the float model loses on it: f64 `[windows, scored]`."""

    text: HeldOut
    original: NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """What an artifact is; None: not measured (a size that is too large is enough to know).

    Attributes:
        bytes: of the folder. seconds: a token (a run). source: of `seconds`, MEASURED or MODELLED.
    """

    bytes: int
    increase: Increase | None = None
    seconds: float | None = None
    source: str = ""


def size_of(folder: Path, record: int) -> int:
    """Bytes of the folder once `record` more stand in edgeq.json."""
    return folder_bytes(folder) + record


def measure(
    folder: Path, size: int, written: Written, options: Options, goal: Goal, scored: Scored | None, progress: Progress
) -> Seen:
    """Score and time an artifact that was just written.

    For a target that is not this machine, the same plan and weights are linked for this one: results are equal bit for
    bit on all targets, so perplexity is the artifact's; time is not, and is left out.
    """
    here = runs_here(options.target.name)
    with _runnable(folder, written, options, progress) as place, Session(place, verify=False) as session:
        seconds = _seconds(session, progress) if here and goal.seconds is not None else None
        if scored is None:
            return Seen(size, None, seconds, MEASURED if seconds else "")
        found = losses(second_half(session), scored.text, progress, "score the artifact")
    return Seen(size, increase(found, scored.original), seconds, MEASURED if seconds else "")


@contextmanager
def _runnable(folder: Path, written: Written, options: Options, progress: Progress) -> Iterator[Path]:
    """A folder that this machine opens."""
    if runs_here(options.target.name):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="edgeq-") as place:
        write_library(written.plan, find("native"), written.weights, "check", Path(place), progress)
        os.symlink(folder.resolve() / WEIGHTS, Path(place) / WEIGHTS)
        yield Path(place)


def _seconds(session: Session, progress: Progress) -> float:
    """Of a decoded token, from an empty context on; of a run of the longest static entry where there is no decoder."""
    progress("time the artifact", 0, 0)
    static = [entry for entry in session.entries if entry.kind == "static"]
    for entry in static:
        write_inputs(session, entry)
    if len(static) < len(session.entries):
        count = min(DECODED, session.info.context)
        return statistics.median(1 / decode_rate(session, count) for _ in range(RUNS + 1))
    return max(latency(session, entry.name, RUN_S, RUNS).p50 for entry in static)
