"""How long one linear takes: measured on this machine, modelled for a target that is not here."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgeq.predict.blank_library import write_blank
from edgeq.predict.kernel_plan import Linear, kernel_plan
from edgeq.predict.machine import cold_bytes, usable_threads
from edgeq.predict.timings import Timings
from edgeq.predict.undisturbed import region_seconds, spread, undisturbed
from edgeq.targets import find, runs_here

__all__ = ["KernelTime", "Linear", "kernel_seconds"]

Progress = Callable[[str, int, int], None]
BUDGET_S = 0.08  # of a kernel
AT_ONCE = 24  # linears of one library: few enough to see it advance


@dataclass(frozen=True)
class KernelTime:
    """Seconds of one call by all threads, the barrier after it included.

    Attributes:
        source: "measured" here, or "modelled".
        error: share of `seconds` by which it may be off: how far two halves of the runs disagree, or what the model
            is good for.
    """

    seconds: float
    source: str
    error: float


def kernel_seconds(
    linears: Sequence[Linear], target: str = "native", threads: int = 0, again: bool = False,
    progress: Progress | None = None,
) -> list[KernelTime]:  # fmt: skip
    """Time of each linear, weights read from memory where the machine's caches cannot hold a model's.

    What was measured before comes from the user's cache; else about a tenth of a second each, and two seconds once.

    Args:
        linears: shapes, formats and rows. target: as `--target` takes it. threads: 0 is one for each usable core.
        again: measure what is known too.

    Raises:
        UnsupportedError: no kernel for a format or width. UsageError: an unknown target. ToolchainError.
    """
    if not runs_here(find(target).name):
        from edgeq.predict.modelled import modelled_linear

        return [modelled_linear(linear, find(target)) for linear in linears]
    timings = Timings(usable_threads(threads), again)
    wanted = {linear.name: linear for linear in linears if timings.get(linear.name) is None}
    missing = list(wanted.values())
    for at in range(0, len(missing), AT_ONCE):
        if progress:
            progress("time kernels", at, len(missing))
        timings.put(_measure(missing[at : at + AT_ONCE], target, usable_threads(threads)))
    found = (timings.get(linear.name) for linear in linears)
    return [KernelTime(seconds, "measured", error) for seconds, error in found]  # type: ignore[misc]


def _measure(linears: list[Linear], target: str, threads: int) -> dict[str, tuple[float, float]]:
    from edgeq.runtime.loader import Session

    plan, sizes = kernel_plan(linears, cold_bytes())
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        write_blank(plan, sizes, find(target), Path(folder))
        with Session(folder, threads=threads, adapt=False, verify=False) as session:
            for linear, entry in zip(linears, plan.entries, strict=True):
                walk = partial(session.run, entry.name, copy=False)
                runs = region_seconds(session, entry.name, walk, BUDGET_S)
                found[linear.name] = (float(undisturbed(runs.reshape(-1, 1))[0]), spread(runs))
    return found
