"""Seconds on a target that is not here: multiply-adds and bytes against what a core of its kind does.

One thread: the longer of cycles / clock and bytes / bandwidth, with the clock and the bandwidth that `edgeq.modelled`
assumes. Cycles a multiply-add are of kernels that were counted and priced by benchmarks/modelled_costs.py.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from edgeq.errors import UnsupportedError
from edgeq.modelled.architecture import of_target
from edgeq.modelled.estimate import BANDWIDTH, Load, Machine, seconds
from edgeq.targets import Target

if TYPE_CHECKING:
    from edgeq.predict.kernel_plan import Linear
    from edgeq.predict.kernel_times import KernelTime

TABLE = Path(__file__).with_name("modelled_costs.json")
ERROR = 0.5  # a core of this class, its own clock and memory: a third faster to half again as slow
CORES = {"arm64": ("dotprod", "neoverse-n1"), "x86-64": ("avx2", "znver4")}  # variant, processor


def machine_of(target: Target) -> Machine:
    """Clock and bandwidth that are assumed of a target."""
    clocks = {p.cpu: p.clock_hz for p in of_target(target.name).processors}
    return Machine(clocks[CORES[target.name][1]], BANDWIDTH)


def linear_load(target: Target, kind: str, ops: float, weight_bytes: float) -> Load:
    """Cycles and bytes of a linear of a `Linear.kind`: `ops` multiply-adds of all rows."""
    return Load(ops * _cycles(target.name, kind), weight_bytes)


def modelled_linear(linear: Linear, target: Target) -> KernelTime:
    """The time of one linear on one thread of a core that stands for the target."""
    from edgeq.predict.kernel_times import KernelTime

    load = linear_load(target, linear.kind, linear.ops, linear.weight_bytes)
    return KernelTime(seconds(load, machine_of(target)).total, "modelled", ERROR)


def _cycles(target: str, kind: str) -> float:
    """Of the kind, else the mean of kinds of the same width: groups of another size."""
    variant, core = CORES[target]
    table = _table()[f"{target} {variant}"][core]
    if kind in table:
        return table[kind]
    fmt, how = kind.split(" ", 1)
    alike = [cycles for name, cycles in table.items() if name.startswith(fmt[:2]) and name.endswith(how)]
    if not alike:
        raise UnsupportedError(f"no cycles were counted for {kind} on {target}: predict {', '.join(table)}")
    return sum(alike) / len(alike)


@cache
def _table() -> dict[str, dict[str, dict[str, float]]]:
    return json.loads(TABLE.read_text())["cycles_a_multiply_add"]
