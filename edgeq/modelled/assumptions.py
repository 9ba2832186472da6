"""What an estimate takes for granted, as it stands in the JSON beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeq.modelled import costs, counter, mca
from edgeq.modelled.architecture import Architecture, Processor
from edgeq.modelled.estimate import FORMULA, NOT_MODELLED, Machine
from edgeq.modelled.rows import LEAST_SHARE
from edgeq.modelled.tools import find_llvm, llvm_version


def assumptions(
    architecture: Architecture, machines: Mapping[str, Machine], refused: Mapping[str, str], source: str
) -> dict[str, Any]:
    """`machines` by LLVM's CPU name; `refused`: why one has no cycles; `source`: who said clocks and bandwidth."""
    return {
        "threads": 1,
        "instructions": {
            "source": f"executed, counted exactly by a plugin of {counter.emulator_version(architecture)}",
            "inputs": "fixed tokens and tensors; what kernels execute does not depend on them",
        },
        "cycles": {
            "source": f"llvm-mca {llvm_version(find_llvm('llvm-mca'))}",
            "of": "each loop and each straight stretch, in the steady state of repeating it",
            "iterations": {"short": mca.ITERATIONS[True], "long": mca.ITERATIONS[False], "below": mca.SHORT},
            "covers": f"the stretches that executed {costs.COVERED:.0%} of a function; the rest like their average",
            "rest": f"functions beside kernels below {LEAST_SHARE:.1%} of an entry, at one instruction a cycle",
            "memory": "every load hits the first cache, loads and stores never alias",
        },
        "bytes": "weights once a call (the manifest's), KV cache once a walk; activations stay in caches",
        "seconds": FORMULA,
        "not_modelled": list(NOT_MODELLED),
        "given_by": source,
        "processors": {
            p.cpu: _processor(p, machines[p.cpu], refused) for p in architecture.processors if p.cpu in machines
        },
    }


def _processor(processor: Processor, machine: Machine, refused: Mapping[str, str]) -> dict[str, Any]:
    return {
        "stands_for": processor.stands_for,
        "clock_hz": machine.clock_hz,
        "bandwidth_bytes_per_s": machine.bandwidth,
        "no_figures_because": refused.get(processor.cpu),
    }
