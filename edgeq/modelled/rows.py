"""What each kernel and function cost in one run of each entry of an artifact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeq.modelled.costs import Costs, Report
from edgeq.modelled.counts import by_function
from edgeq.modelled.program import UNKNOWN
from edgeq.modelled.run import Counts, Run
from edgeq.modelled.workload import Work, kv_bytes, workload

LEAST_SHARE = 0.002
"""Functions beside kernels that executed less of every entry are one row, REST, at one instruction a cycle."""
REST = "(rest)"


@dataclass(frozen=True)
class Row:
    """One kernel, or one function beside kernels, in one run of an entry: the mean over its runs.

    Attributes:
        name: the kernel's, without its variant. calls: of a kernel; 0 for other functions. instructions: executed.
        weight_bytes, kv_bytes: moved. cycles: by LLVM's CPU name, None where a processor lacks an instruction.
        hot_loop: the loop that executed most: instructions, and by processor its cycles, the bound by port pressure and
            instructions a cycle.
    """

    name: str
    calls: int
    instructions: float
    weight_bytes: int
    kv_bytes: float
    cycles: dict[str, float | None]
    hot_loop: dict[str, Any] | None


@dataclass(frozen=True)
class EntryRows:
    """The rows of an entry, most instructions first, and the runs that they are means of."""

    runs: tuple[Run, ...]
    rows: tuple[Row, ...]


class Accounting:
    """Prices an artifact's counted runs.

    Attributes:
        refused: why a processor has no cycles, by LLVM's name.
    """

    def __init__(
        self, manifest: Mapping[str, Any], counts: Counts, cpus: Sequence[str], progress: Report | None = None
    ):
        self._manifest, self._counts, self._cpus = manifest, counts, cpus
        self._kernels = {f"{k['name']}_{counts.variant}": k["name"] for k in manifest["kernels"]}
        self._shares = [by_function(run.counts, counts.program) for run in counts.runs]
        everything: Counter[int] = Counter()
        for run in counts.runs:
            everything.update(run.counts)
        self._costs = Costs(counts.program, self._costly(), everything, cpus, progress)
        self.refused = self._costs.refused

    def _costly(self) -> list[str]:
        found = {
            name: True
            for share in self._shares
            for name, n in share.items()
            if name in self._kernels or (n >= LEAST_SHARE * share.total() and name != UNKNOWN)
        }
        return list(found)

    def entries(self) -> dict[str, EntryRows]:
        """By name, in the order of their first runs."""
        names = dict.fromkeys(run.entry for run in self._counts.runs)
        return {name: self._entry(name) for name in names}

    def _entry(self, name: str) -> EntryRows:
        at = [i for i, run in enumerate(self._counts.runs) if run.entry == name]
        runs = tuple(self._counts.runs[i] for i in at)
        share: Counter[str] = Counter()
        for i in at:
            share.update(self._shares[i])
        counts: Counter[int] = Counter()
        for run in runs:
            counts.update(run.counts)
        work = workload(self._manifest, name)
        kv = sum(kv_bytes(self._manifest, run.rows, run.position) for run in runs) / len(runs)
        rows = [self._row(f, counts, len(runs), work, kv) for f in self._costs.names if share[f]]
        rest = share.total() - sum(share[f] for f in self._costs.names)
        rows.sort(key=lambda row: -row.instructions)
        return EntryRows(runs, (*rows, _rest(rest / len(runs), self._cpus, self.refused)))

    def _row(self, function: str, counts: Counter[int], runs: int, work: Mapping[str, Work], kv: float) -> Row:
        name = self._kernels.get(function, function)
        here = work.get(name, Work(0, 0, False))
        readers = sum(w.calls for w in work.values() if w.cached)
        cycles = {cpu: self._costs.cycles(function, counts, cpu) for cpu in self._cpus}
        return Row(
            name, here.calls, self._costs.instructions(function, counts) / runs, here.weight_bytes,
            kv * here.calls / readers if here.cached else 0.0,
            {cpu: None if c is None else c / runs for cpu, c in cycles.items()}, self._hot_loop(function),
        )  # fmt: skip

    def _hot_loop(self, function: str) -> dict[str, Any] | None:
        found = self._costs.hot_loop(function)
        if found is None:
            return None
        loop, cycles = found
        figures = {
            cpu: {"cycles": c.total, "port_bound": c.port_bound, "instructions_per_cycle": c.ipc}
            for cpu, c in cycles.items()
        }
        return {"instructions": len(loop.body), "address": loop.body[0].address, "cycles": figures}


def _rest(instructions: float, cpus: Sequence[str], refused: Mapping[str, str]) -> Row:
    return Row(REST, 0, instructions, 0, 0.0, {cpu: None if cpu in refused else instructions for cpu in cpus}, None)
