"""Symbols and entry of an ELF executable or object, 64 bits, little endian: where each function's instructions lie."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeq.errors import ArtifactError
from edgeq.modelled.architecture import Architecture, of_machine

_SECTION, _SYMBOL = struct.Struct("<IIQQQQIIQQ"), struct.Struct("<IBBHQQ")
_SYMTAB, _FUNCTION = 2, 2
UNKNOWN = "(no symbol)"


@dataclass(frozen=True)
class Function:
    """A function of a program: its bytes are address..address+size-1."""

    name: str
    address: int
    size: int


@dataclass(frozen=True)
class Program:
    """An executable: functions in the order of their addresses, the address where it starts, its instruction set."""

    path: Path
    entry: int
    architecture: Architecture
    functions: tuple[Function, ...]

    def function(self, name: str) -> Function | None:
        """The function of that name, None when there is none."""
        return next((f for f in self.functions if f.name == name), None)


class Owners:
    """Which function an address belongs to."""

    def __init__(self, functions: tuple[Function, ...]):
        self._functions, self._starts = functions, [f.address for f in functions]

    def of(self, address: int) -> str:
        """Its name; UNKNOWN between functions. One of size 0 (assembly) reaches to the next."""
        at = bisect_right(self._starts, address) - 1
        if at < 0:
            return UNKNOWN
        function = self._functions[at]
        return function.name if not function.size or address < function.address + function.size else UNKNOWN


def read_program(path: Path) -> Program:
    """Parse the symbol table; raises ArtifactError for no ELF file of 64 bits or a stripped one, as `of_machine`."""
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        raise ArtifactError(f"{path}: not a little-endian ELF file of 64 bits")
    machine, _, entry = struct.unpack_from("<HIQ", data, 18)
    functions = {f.address: f for f in sorted(_functions(data), key=lambda f: f.size)}
    if not functions:
        raise ArtifactError(f"{path}: no symbols; link it without stripping")
    return Program(path, entry, of_machine(machine), tuple(sorted(functions.values(), key=lambda f: f.address)))


def _functions(data: bytes) -> Iterator[Function]:
    offset, size, count = struct.unpack_from("<Q", data, 40)[0], *struct.unpack_from("<HH", data, 58)
    sections = [_SECTION.unpack_from(data, offset + i * size) for i in range(count)]
    for _, kind, _, _, at, bytes_, link, *_ in sections:
        if kind != _SYMTAB:
            continue
        names = sections[link][4]
        for name, info, _, section, address, length in _SYMBOL.iter_unpack(data[at : at + bytes_]):
            if info & 15 == _FUNCTION and section:
                text = data[names + name : data.index(b"\0", names + name)]
                yield Function(text.decode(errors="replace"), address, length)
