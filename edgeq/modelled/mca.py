"""Cycles of stretches of instructions on processors that are not here, from LLVM's scheduling models (llvm-mca)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgeq.errors import EdgeqError, ToolchainError, UnsupportedError
from edgeq.modelled.architecture import ARM64
from edgeq.modelled.loops import Stretch
from edgeq.modelled.tools import find_llvm, run

SHORT = 48
"""Instructions below which a stretch is repeated more often, until the core's window has long been full."""
ITERATIONS = {True: (24, 72), False: (4, 12)}
"""Of the two runs whose difference is the steady state, for short stretches and others."""


@dataclass(frozen=True)
class Cycles:
    """One stretch on one processor, per execution, in the steady state of running it again and again.

    Attributes:
        total: cycles. instructions: its length.
        rthroughput: the least that its port pressure and the dispatch width allow (mca's block reciprocal throughput).
    """

    total: float
    rthroughput: float
    instructions: int

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
            cycles = (second[i]["TotalCycles"] - first[i]["TotalCycles"]) / (more - warm)
            result[i] = Cycles(cycles, second[i]["BlockRThroughput"], len(found[i].body))
    return result


def _assembly(stretch: Stretch) -> str:
    body = [i.assembly(".Lplace") for i in stretch.body if not (i.calls or i.returns)]
    return "\n".join(body)


def _run(text: str, cpu: str, triple: str, iterations: int) -> dict[int, dict[str, float]]:
    """mca's summary by region."""
    options = (f"-mtriple={triple}", f"-mcpu={cpu}", f"-iterations={iterations}", "-json", "-resource-pressure=0")
    try:
        output = run(find_llvm("llvm-mca"), *options, "-", text=f".Lplace:\n{text}")
    except ToolchainError as e:
        raise _refusal(str(e), cpu) from None
    return parse(output)


def parse(output: str) -> dict[int, dict[str, float]]:
    """Summary of each numbered region; raises ToolchainError when the output is none of llvm-mca's."""
    try:
        regions = json.loads(output)["CodeRegions"]
        return {int(region["Name"]): region["SummaryView"] for region in regions}
    except (ValueError, KeyError) as e:
        raise ToolchainError(f"llvm-mca printed something else than its JSON: {e!r}") from None


def _refusal(said: str, cpu: str) -> EdgeqError:
    lacks = sorted(set(re.findall(r"instruction requires: ([^\n]+)", said)))
    return UnsupportedError(f"{cpu} lacks {', '.join(lacks)}") if lacks else ToolchainError(said)
