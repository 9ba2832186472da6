"""Cycles of stretches of instructions on processors that are not here, from LLVM's scheduling models (llvm-mca)."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgeq.errors import EdgeqError, ToolchainError, UnsupportedError
from edgeq.modelled.architecture import ARM64
from edgeq.modelled.loops import Stretch
from edgeq.modelled.tools import find_llvm, run

CLOSED = ("V", "F", "L")
"""Kinds of ports whose work no other kind does: vectors and loads of ARM cores. Integer work may go to several."""
SHORT = 48
"""Instructions below which a stretch is repeated more often, until the core's window has long been full."""
ITERATIONS = {True: (24, 72), False: (4, 12)}
"""Of the two runs whose difference is the steady state, for short stretches and others."""


@dataclass(frozen=True)
class Cycles:
    """One stretch on one processor, per execution, in the steady state of running it again and again.

    Attributes:
        total: cycles. instructions: its length.
        rthroughput: mca's block reciprocal throughput. It takes instructions for any of several ports and those for one
            of them apart, so the ports of a kind may need longer.
        pressure: cycles that the busiest kind of ports needs when its work is spread evenly over them.
    """

    total: float
    rthroughput: float
    instructions: int
    pressure: float = 0.0

    @property
    def port_bound(self) -> float:
        """The least cycles that port pressure and the dispatch width allow."""
        return max(self.rthroughput, self.pressure)

    @property
    def ipc(self) -> float:
        """Instructions a cycle."""
        return self.instructions / self.total if self.total else 0.0


def mca(stretch: Stretch, cpu: str, triple: str = ARM64.triple) -> Cycles:
    """Cycles of one stretch on an LLVM CPU (`neoverse-n1`); raises as `mca_all`."""
    return mca_all([stretch], cpu, triple)[0]


def mca_all(found: Sequence[Stretch], cpu: str, triple: str = ARM64.triple) -> list[Cycles]:
    """Cycles of each stretch; calls inside them count nothing: what is called is a function of its own.

    Raises UnsupportedError when the CPU lacks an instruction, TargetError where llvm-mca is missing.
    """
    result = [Cycles(0.0, 0.0, 0) for _ in found]
    bodies = {i: text for i, stretch in enumerate(found) if (text := _assembly(stretch))}
    for short, (warm, more) in ITERATIONS.items():
        chosen = [i for i in bodies if (len(found[i].body) < SHORT) == short]
        if not chosen:
            continue
        text = "".join(f"# LLVM-MCA-BEGIN {i}\n{bodies[i]}\n# LLVM-MCA-END {i}\n" for i in chosen)
        first, second = _run(text, cpu, triple, warm), _run(text, cpu, triple, more)
        for i in chosen:
            cycles = (second[i].cycles - first[i].cycles) / (more - warm)
            result[i] = Cycles(cycles, second[i].rthroughput, len(found[i].body), second[i].pressure)
    return result


def _assembly(stretch: Stretch) -> str:
    body = [i.assembly(".Lplace") for i in stretch.body if not (i.calls or i.returns)]
    return "\n".join(body)


def _run(text: str, cpu: str, triple: str, iterations: int) -> dict[int, Simulated]:
    """What mca says of each region."""
    options = (f"-mtriple={triple}", f"-mcpu={cpu}", f"-iterations={iterations}", "-json", "-instruction-info=0")
    try:
        output = run(find_llvm("llvm-mca"), *options, "-", text=f".Lplace:\n{text}")
    except ToolchainError as e:
        raise _refusal(str(e), cpu) from None
    return parse(output)


@dataclass(frozen=True)
class Simulated:
    """A region's run: cycles of all iterations, then as in `Cycles`."""

    cycles: float
    rthroughput: float
    pressure: float


def parse(output: str) -> dict[int, Simulated]:
    """Each numbered region; raises ToolchainError when the output is none of llvm-mca's."""
    try:
        body = json.loads(output)
        names = body["TargetInfo"]["Resources"]
        return {int(region["Name"]): _simulated(region, names) for region in body["CodeRegions"]}
    except (ValueError, KeyError, IndexError) as e:
        raise ToolchainError(f"llvm-mca printed something else than its JSON: {e!r}") from None


def _simulated(region: dict[str, Any], names: Sequence[str]) -> Simulated:
    summary, every = region["SummaryView"], len(region["Instructions"])
    use = region["ResourcePressureView"]["ResourcePressureInfo"]
    kinds = Counter(_kind(name) for name in names)
    load: Counter[str] = Counter()
    for item in use:
        if item["InstructionIndex"] == every:  # the sums follow the last instruction
            load[_kind(names[item["ResourceIndex"]])] += item["ResourceUsage"]
    pressure = max((load[kind] / kinds[kind] for kind in load if kind in CLOSED), default=0.0)
    return Simulated(summary["TotalCycles"], summary["BlockRThroughput"], pressure)


def _kind(name: str) -> str:
    """Of a port of an ARM core, by its first letter: `V` of `N1UnitV0`."""
    return name.partition("Unit")[2][:1]


def _refusal(said: str, cpu: str) -> EdgeqError:
    lacks = sorted(set(re.findall(r"instruction requires: ([^\n]+)", said)))
    return UnsupportedError(f"{cpu} lacks {', '.join(lacks)}") if lacks else ToolchainError(said)
