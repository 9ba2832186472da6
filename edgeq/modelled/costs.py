"""Cycles of executed functions: each stretch's by llvm-mca, as often as it ran."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edgeq.errors import UnsupportedError
from edgeq.modelled.disassembly import disassemble
from edgeq.modelled.loops import Stretch, stretches
from edgeq.modelled.mca import Cycles, mca_all
from edgeq.modelled.program import Program

COVERED = 0.99
"""Share of a function's executed instructions that is modelled; the rest is priced like the average of this share."""

AT_ONCE = 8
"""Functions handed to llvm-mca together: few enough to see it advance, enough to start it seldom."""
Report = Callable[[str, int, int], None]


class Costs:
    """Cycles of functions of one program on several processors.

    Attributes:
        names: of the functions.
        refused: why a processor has no figures, by LLVM's name: the program uses instructions that it lacks.
    """

    def __init__(
        self, program: Program, names: Sequence[str], counts: Mapping[int, int], cpus: Sequence[str],
        progress: Report | None = None,
    ):  # fmt: skip
        """`counts`: times by address, of everything that will be asked for. Raises TargetError without LLVM's tools."""
        self._say = progress or (lambda stage, done, total: None)
        self._triple = program.architecture.triple
        code = disassemble(program.path, names)
        self._stretches = {name: _most(stretches(code[name], counts)) for name in names}
        self._bodies = {name: tuple(i.address for i in code[name]) for name in names}
        self.names = tuple(names)
        self._cycles: dict[str, dict[str, list[Cycles]]] = {}
        self.refused: dict[str, str] = {}
        for cpu in cpus:
            self._model(cpu)

    def _model(self, cpu: str) -> None:
        priced: dict[str, list[Cycles]] = {}
        try:
            for at in range(0, len(self.names), AT_ONCE):
                self._say(f"model cycles of {cpu}, kernels", at, len(self.names))
                priced.update(self._price(self.names[at : at + AT_ONCE], cpu))
        except UnsupportedError as e:
            self.refused[cpu] = str(e)
            return
        self._cycles[cpu] = priced

    def _price(self, names: Sequence[str], cpu: str) -> dict[str, list[Cycles]]:
        """Cycles of each stretch of these functions."""
        found = iter(mca_all([s for name in names for s in self._stretches[name]], cpu, self._triple))
        return {name: [next(found) for _ in self._stretches[name]] for name in names}

    def instructions(self, name: str, counts: Mapping[int, int]) -> int:
        """Executed instructions of a function, calls it makes not included."""
        return sum(counts.get(address, 0) for address in self._bodies[name])

    def cycles(self, name: str, counts: Mapping[int, int], cpu: str) -> float | None:
        """Modelled cycles of the same; None on a processor that refused."""
        if cpu in self.refused:
            return None
        executed = [sum(counts.get(i.address, 0) for i in s.body) for s in self._stretches[name]]
        priced = zip(executed, self._cycles[cpu][name], strict=True)
        cycles = sum(n / c.instructions * c.total for n, c in priced if c.instructions)
        covered = sum(executed)
        return cycles * self.instructions(name, counts) / covered if covered else 0.0

    def hot_loop(self, name: str) -> tuple[Stretch, dict[str, Cycles]] | None:
        """The loop that executed most instructions, and its cycles by processor; None when no loop ran."""
        for i, stretch in enumerate(self._stretches[name]):
            if stretch.loop:
                return stretch, {cpu: found[name][i] for cpu, found in self._cycles.items()}
        return None


def _most(found: list[Stretch]) -> list[Stretch]:
    """The first of them that together executed COVERED of all, at least one."""
    kept: list[Stretch] = []
    total, so_far = sum(s.instructions for s in found), 0
    for stretch in found:
        if kept and so_far >= COVERED * total:
            break
        kept.append(stretch)
        so_far += stretch.instructions
    return kept
