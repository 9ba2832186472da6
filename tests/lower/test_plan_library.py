"""What model.so asks of a device: the C library, nothing else, and little room."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SYSTEM = {"libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2"}
MOST_BYTES = 500_000
NEEDED, DYNAMIC, DYNSYM, WEAK, UNDEFINED = 1, 6, 11, 2, 0


class Section(NamedTuple):
    """One entry of an ELF64 file's section table."""

    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry: int


class Elf:
    """Just enough of a 64-bit little-endian ELF file to list what it needs."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        assert self.data[:6] == b"\x7fELF\x02\x01"
        start, size, count = *struct.unpack_from("<Q", self.data, 40), *struct.unpack_from("<HH", self.data, 58)
        self.sections = [Section(*struct.unpack_from("<IIQQQQIIQQ", self.data, start + i * size)) for i in range(count)]

    def rows(self, kind: int, form: str) -> Iterator[tuple[Section, tuple[int, ...]]]:
        """(string table, fields) of each entry of a section."""
        section = next(s for s in self.sections if s.kind == kind)
        for at in range(section.offset, section.offset + section.size, section.entry):
            yield self.sections[section.link], struct.unpack_from(form, self.data, at)

    def text(self, strings: Section, at: int) -> str:
        """A name from a string table."""
        start = strings.offset + at
        return self.data[start : self.data.index(b"\0", start)].decode()

    def needed(self) -> set[str]:
        """Libraries that the loader must find."""
        return {self.text(strings, value) for strings, (tag, value) in self.rows(DYNAMIC, "<qQ") if tag == NEEDED}

    def symbols(self) -> Iterator[tuple[str, bool, bool]]:
        """(name, defined, weak) of the dynamic symbols."""
        for strings, (name, info, _, section, _, _) in self.rows(DYNSYM, "<IBBHQQ"):
            if name:
                yield self.text(strings, name), section != UNDEFINED, info >> 4 == WEAK


def test_it_needs_the_c_library_only(tiny_artifact: Path):
    elf = Elf(tiny_artifact / "model.so")
    assert elf.needed() <= SYSTEM
    libraries = [ctypes.CDLL(name) for name in ("libc.so.6", "libm.so.6")]
    undefined = [name for name, defined, weak in elf.symbols() if not defined and not weak]
    assert "pthread_create" in undefined  # the list is read at all
    missing = [name for name in undefined if not any(hasattr(library, name) for library in libraries)]
    assert missing == []


def test_it_exports_the_c_api_only(tiny_artifact: Path):
    exported = {name for name, defined, _ in Elf(tiny_artifact / "model.so").symbols() if defined}
    assert {"edgeq_open", "edgeq_feed", "edgeq_logits", "edgeq_close"} <= exported
    assert {name for name in exported if not name.startswith("edgeq_")} == set()


def test_three_variants_fit_into_half_a_megabyte(tiny_artifact: Path):
    text = (tiny_artifact / "model.c").read_text()
    assert all(f"static const struct kernels {isa} = {{" in text for isa in ("avx512vnni", "avx2", "portable"))
    assert (tiny_artifact / "model.so").stat().st_size <= MOST_BYTES
