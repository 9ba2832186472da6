"""From cycles and bytes to a time: the arithmetic of an estimate, and what it leaves out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

BANDWIDTH = 15e9
"""Bytes a second, assumed when nothing else is said: two LPDDR4X-4266 channels of 16 bits have 17 at their pins."""
FORMULA = "of each kernel the longer of cycles / clock and bytes / bandwidth, summed over kernels"
NOT_MODELLED = (
    "caches: every byte of weights and KV cache comes from memory, activations cost nothing",
    "branch misses, TLB misses, page faults, memory latency beyond what the core hides in its own loop",
    "overlap from one kernel to the next",
    "threads: one",
    "the operating system, other processes, changes of clock with heat",
)


@dataclass(frozen=True)
class Load:
    """What one kernel asks of a processor.

    Attributes:
        cycles: modelled cycles. bytes: of weights and KV cache. Both of all its calls in one run of an entry.
    """

    cycles: float
    bytes: float


@dataclass(frozen=True)
class Machine:
    """What a processor is assumed to do: clock in Hz, bytes a second."""

    clock_hz: float
    bandwidth: float


@dataclass(frozen=True)
class Seconds:
    """A modelled time and its two sides."""

    compute: float
    memory: float

    @property
    def total(self) -> float:
        """The longer one."""
        return max(self.compute, self.memory)

    @property
    def bound(self) -> str:
        """`compute` or `memory`."""
        return "memory" if self.memory > self.compute else "compute"


def seconds(load: Load, machine: Machine) -> Seconds:
    """Time of one kernel."""
    return Seconds(load.cycles / machine.clock_hz, load.bytes / machine.bandwidth)


def total(parts: Iterable[Seconds]) -> float:
    """Seconds of kernels one after another."""
    return sum(part.total for part in parts)
