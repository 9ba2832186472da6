"""Processors that cycles are modelled for: LLVM's name of the scheduling model, and the clock that is assumed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Processor:
    """A core of a kind.

    Attributes:
        cpu: LLVM's CPU name. stands_for: the cores meant. clock_hz: assumed when nothing else is said.
        clock_source: a product that runs at it.
    """

    cpu: str
    stands_for: str
    clock_hz: float
    clock_source: str


PROCESSORS = (
    Processor("cortex-a55", "little cores of phones and boards, in order", 1.8e9, "RK3588's Cortex-A55"),
    Processor("neoverse-n1", "Cortex-A76 class", 2.4e9, "Raspberry Pi 5's Cortex-A76"),
    Processor("neoverse-v1", "Cortex-X1 class", 2.8e9, "Google Tensor's Cortex-X1"),
)
BANDWIDTH = 15e9
"""Bytes a second, assumed when nothing else is said: two LPDDR4X-4266 channels of 16 bits have 17 at their pins."""
