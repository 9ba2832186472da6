"""Which instructions a function executes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from edgeq.modelled.disassembly import disassemble
from edgeq.modelled.program import Program


def mnemonics(program: Program, function: str, counts: Mapping[int, int]) -> Counter[str]:
    """Executed instructions of a function by mnemonic, most first, from times by address (`counts.by_instruction`)."""
    totals: Counter[str] = Counter()
    for instruction in disassemble(program.path, [function])[function]:
        totals[instruction.mnemonic] += counts.get(instruction.address, 0)
    return Counter(dict((+totals).most_common()))
