"""Instructions of a function, as LLVM's disassembler prints them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgeq.errors import UsageError
from edgeq.modelled.tools import find_llvm, run

_HEADER = re.compile(r"^[0-9a-f]+ <(.+)>:$")
_LINE = re.compile(r"^\s*([0-9a-f]+):\s+(\S+)\s*(.*)$")
_COMMENT = re.compile(r"\s*(//|#\s).*$")
_PLACE = re.compile(r"0x([0-9a-f]+) <[^>]*>")
_JUMP = re.compile(r"b(\.\w+)?|[ct]bn?z|j[a-z]+")
_CALLS, _RETURNS = ("bl", "blr", "call", "callq"), ("ret", "retq")


@dataclass(frozen=True)
class Instruction:
    """One instruction: where it lies, its mnemonic, its operands as printed, and the address that they name, if any."""

    address: int
    mnemonic: str
    operands: str
    place: int | None

    @property
    def target(self) -> int | None:
        """Where it jumps to within its function, None for what is no direct jump (calls are none)."""
        return self.place if _JUMP.fullmatch(self.mnemonic) else None

    @property
    def calls(self) -> bool:
        """Whether it calls a function."""
        return self.mnemonic in _CALLS

    @property
    def returns(self) -> bool:
        """Whether it ends its function."""
        return self.mnemonic in _RETURNS

    def assembly(self, label: str) -> str:
        """Text to assemble alone: whatever address it names becomes `label`."""
        return f"\t{self.mnemonic}\t{_PLACE.sub(label, self.operands)}"


def disassemble(path: Path, names: Sequence[str]) -> dict[str, tuple[Instruction, ...]]:
    """Functions of an object or executable by name; raises UsageError for names that it does not have."""
    text = run(find_llvm("llvm-objdump"), "-d", "--no-show-raw-insn", f"--disassemble-symbols={','.join(names)}", path)
    found = parse(text)
    missing = [name for name in names if name not in found]
    if missing:
        raise UsageError(f"{path.name} has no function {', '.join(missing)}")
    return found


def parse(text: str) -> dict[str, tuple[Instruction, ...]]:
    """Instructions by function from the disassembler's output."""
    found: dict[str, list[Instruction]] = {}
    current: list[Instruction] = []
    for line in text.splitlines():
        if header := _HEADER.match(line):
            current = found.setdefault(header[1], [])
        elif code := _LINE.match(line):
            current.append(_instruction(code[1], code[2], code[3]))
    return {name: tuple(body) for name, body in found.items()}


def _instruction(address: str, mnemonic: str, operands: str) -> Instruction:
    operands = _COMMENT.sub("", operands)
    place = _PLACE.search(operands)
    return Instruction(int(address, 16), mnemonic, operands, int(place[1], 16) if place else None)


@cache
def all_addresses(path: Path) -> list[int]:
    """Address of every instruction of a program, in order."""
    text = run(find_llvm("llvm-objdump"), "-d", "--no-show-raw-insn", path)
    return [int(code[1], 16) for line in text.splitlines() if (code := _LINE.match(line))]
