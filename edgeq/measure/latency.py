"""How long a run of a static entry takes: on random inputs, written once and kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edgeq.runtime.facts import Entry
    from edgeq.runtime.loader import Session
    from edgeq.runtime.tensors import Tensor

MOST = 200


@dataclass(frozen=True)
class Latency:
    """Seconds of single runs.

    Attributes:
        p50, p90, best, mean: over `samples`, which are in order.
    """

    p50: float
    p90: float
    best: float
    mean: float
    samples: tuple[float, ...]

    @property
    def runs_per_s(self) -> float:
        """Runs a second, one after another, at the median."""
        return 1 / self.p50


def write_inputs(session: Session, entry: Entry, seed: int = 0) -> None:
    """Run a static entry once on seeded inputs, which stay: normal floats, integers within their limits, else ones."""
    rng = np.random.default_rng(seed)
    session.run(entry.name, copy=False, **{tensor.name: _values(tensor, rng) for tensor in entry.inputs})


def _values(tensor: Tensor, rng: np.random.Generator) -> np.ndarray:
    if tensor.dtype == np.float32:
        return rng.standard_normal(tensor.shape, np.float32)
    if tensor.limit:
        return np.asarray(rng.integers(0, tensor.limit, tensor.shape), np.int32)
    return np.ones(tensor.shape, np.int32)  # masks: no work is saved


def latency(
    session: Session,
    name: str,
    budget_s: float,
    least: int,
    clock: Callable[[], float] = time.perf_counter,
    pause: Callable[[], bool] = lambda: False,
) -> Latency:
    """Time runs on what the inputs hold: at least `least`, then at most 200, for `budget_s` seconds.

    `pause` is called before each; where it took time, one run more warms up and does not count.
    """
    session.run(name, copy=False)  # warm up
    samples: list[float] = []
    start = clock()
    while len(samples) < least or (len(samples) < MOST and clock() - start < budget_s):
        if pause():
            session.run(name, copy=False)
        before = clock()
        session.run(name, copy=False)
        samples.append(clock() - before)
    return summarize(samples)


def summarize(samples: list[float]) -> Latency:
    """Latency of at least one sample; percentiles are samples, not interpolated."""
    p50, p90 = np.percentile(samples, [50, 90], method="inverted_cdf")
    return Latency(float(p50), float(p90), min(samples), float(np.mean(samples)), tuple(samples))
