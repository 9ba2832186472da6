"""Fits the model to a device's measured kernels, and says how far it was off on what the fit had not seen."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from edgeq.errors import UsageError
from edgeq.modelled.estimate import Load, Machine, seconds

ROUNDS = 50
"""Of fitting; it settles in a few."""
LEAST_SHARE = 0.05
"""Of the measured time: a rate is fitted to the ops that it bounds only if they took this much. Small ones say more of
their overhead than of the rate."""


@dataclass(frozen=True)
class Item:
    """One op of an entry, measured.

    Attributes:
        artifact, entry, name: which. seconds: measured, of one run of the entry.
        cycles: modelled, by LLVM's CPU name. bytes: of weights and KV cache.
    """

    artifact: str
    entry: str
    name: str
    seconds: float
    cycles: dict[str, float]
    bytes: float

    def load(self, cpu: str) -> Load:
        """What it asks of a core."""
        return Load(self.cycles[cpu], self.bytes)


@dataclass(frozen=True)
class Prediction:
    """Of what the fit had not seen: seconds predicted and measured."""

    name: str
    predicted: float
    measured: float

    @property
    def ratio(self) -> float:
        """Measured over predicted."""
        return self.measured / self.predicted

    @property
    def error(self) -> float:
        """Share of the measured time that it was off."""
        return abs(self.predicted - self.measured) / self.measured


@dataclass(frozen=True)
class Calibration:
    """A device as the model sees it.

    Attributes:
        cpu: LLVM's name of the core that explains its times best. machine: cycles and bytes a second, fitted.
        left_out: what each fit left out, `artifact` or `kernel`.
        entries, kernels: predictions of what was left out.
    """

    cpu: str
    machine: Machine
    left_out: str
    entries: tuple[Prediction, ...]
    kernels: tuple[Prediction, ...]


def calibrate(items: Sequence[Item], bandwidth: float) -> Calibration:
    """The core whose predictions of left-out items are best, fitted to all of them.

    `bandwidth`: measured bytes a second, where nothing measured is bound by memory. Raises UsageError for fewer than
    three items or when no core has cycles for all.
    """
    cpus = sorted(set.intersection(*(set(item.cycles) for item in items))) if items else []
    if len(items) < 3 or not cpus:
        raise UsageError("nothing to calibrate with: measure an artifact of more than two ops that some core can run")
    return min((_calibrate(items, cpu, bandwidth) for cpu in cpus), key=_mean_error)


def _mean_error(found: Calibration) -> float:
    return sum(p.error * p.measured for p in found.kernels) / sum(p.measured for p in found.kernels)


def _calibrate(items: Sequence[Item], cpu: str, bandwidth: float) -> Calibration:
    several = len({item.artifact for item in items}) > 1
    kernels = _predict(items, cpu, bandwidth, (lambda i: i.artifact) if several else (lambda i: (i.entry, i.name)))
    measured = [
        Prediction(_name(item), predicted, item.seconds) for item, predicted in zip(items, kernels, strict=True)
    ]
    left_out = "artifact" if several else "kernel"
    return Calibration(cpu, fit(items, cpu, bandwidth), left_out, tuple(_entries(items, kernels)), tuple(measured))


def _predict(items: Sequence[Item], cpu: str, bandwidth: float, key: Callable[[Item], object]) -> list[float]:
    """Seconds of each item by a fit to those of other keys."""
    machines = {k: fit([i for i in items if key(i) != k], cpu, bandwidth) for k in {key(i) for i in items}}
    return [seconds(item.load(cpu), machines[key(item)]).total for item in items]


def _entries(items: Sequence[Item], predicted: Sequence[float]) -> Iterable[Prediction]:
    totals: dict[tuple[str, str], list[float]] = {}
    for item, guess in zip(items, predicted, strict=True):
        total = totals.setdefault((item.artifact, item.entry), [0.0, 0.0])
        total[0] += guess
        total[1] += item.seconds
    return [Prediction(" ".join(key), guess, measured) for key, (guess, measured) in totals.items()]


def _name(item: Item) -> str:
    return f"{item.artifact} {item.entry}: {item.name}"


def fit(items: Sequence[Item], cpu: str, bandwidth: float) -> Machine:
    """Cycles and bytes a second: each the median, by time, over the items that it bounds."""
    least = LEAST_SHARE * sum(item.seconds for item in items)
    machine = Machine(_rate([(i.cycles[cpu], i.seconds) for i in items], 0.0, 0.0), bandwidth)
    for _ in range(ROUNDS):
        bounds = [seconds(item.load(cpu), machine).bound for item in items]
        compute = [(i.cycles[cpu], i.seconds) for i, b in zip(items, bounds, strict=True) if b == "compute"]
        memory = [(i.bytes, i.seconds) for i, b in zip(items, bounds, strict=True) if b == "memory"]
        fitted = Machine(_rate(compute, least, machine.clock_hz), _rate(memory, least, bandwidth))
        if fitted == machine:
            break
        machine = fitted
    return machine


def _rate(done: Sequence[tuple[float, float]], least: float, otherwise: float) -> float:
    """Amount a second of (amount, seconds): the median by time; `otherwise` when all of it took less than `least`."""
    if sum(took for _, took in done) <= least:
        return otherwise
    return _median([(amount / took, took) for amount, took in done])


def _median(weighted: Sequence[tuple[float, float]]) -> float:
    """The value at which half of the weight is reached."""
    ordered = sorted(weighted)
    half, so_far = sum(weight for _, weight in ordered) / 2, 0.0
    for value, weight in ordered:
        so_far += weight
        if so_far >= half:
            return value
    return ordered[-1][0]


def summary(predictions: Sequence[Prediction]) -> dict[str, float | int]:
    """Errors as shares of the measured time, and the range of measured over predicted."""
    errors, ratios = [p.error for p in predictions], [p.ratio for p in predictions]
    return {
        "predictions": len(predictions),
        "median": statistics.median(errors),
        "worst": max(errors),
        "measured_over_predicted_least": min(ratios),
        "measured_over_predicted_most": max(ratios),
    }
