"""Seconds on a target that is not here: multiply-adds and bytes against what a core of its kind does.

A roofline, one thread: the longer of cycles / clock and bytes / bandwidth, with the clock and the bandwidth that
`edgeq.modelled` assumes. It orders formats and finds what memory bounds; docs/modelled.md has what is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeq.modelled.architecture import of_target
from edgeq.modelled.estimate import BANDWIDTH, Load, Machine, Seconds, seconds
from edgeq.targets import Target

if TYPE_CHECKING:
    from edgeq.predict.kernel_plan import Linear
    from edgeq.predict.kernel_times import KernelTime

INSTRUCTIONS_A_CYCLE = 2.0
ERROR = 1.0  # may take twice as long, or half
# Instructions a multiply-add: (integer activations, one row) -> of 4-bit weights, of wider ones.
INSTRUCTIONS = {
    (True, True): (0.189, 0.201), (True, False): (0.117, 0.117), (False, True): (0.5, 0.4), (False, False): (0.4, 0.35),
}  # fmt: skip
CORE = {"arm64": "neoverse-n1", "x86-64": "haswell"}


def machine_of(target: Target) -> Machine:
    """Clock and bandwidth that are assumed of a target."""
    clocks = {p.cpu: p.clock_hz for p in of_target(target.name).processors}
    return Machine(clocks[CORE[target.name]], BANDWIDTH)


def kernel_load(ops: float, weight_bytes: float, bits: int, integer: bool, one_row: bool) -> Load:
    """Cycles and bytes of a linear: `ops` multiply-adds of all rows."""
    narrow, wide = INSTRUCTIONS[integer, one_row]
    return Load(ops * (narrow if bits == 4 else wide) / INSTRUCTIONS_A_CYCLE, weight_bytes)


def modelled_linear(linear: Linear, target: Target) -> KernelTime:
    """The time of one linear on one thread of a core that stands for the target."""
    from edgeq.predict.kernel_times import KernelTime
    from edgeq.quant.format import WeightFormat

    bits = WeightFormat.parse(linear.format).bits
    load = kernel_load(linear.ops, linear.weight_bytes, bits, linear.integer, linear.rows == 1)
    found: Seconds = seconds(load, machine_of(target))
    return KernelTime(found.total, "modelled", ERROR)
