"""Puts data behind a static ELF program as one more segment, which the kernel maps: no file has to be found and read.

The new program header takes the place of a note's (the program has one to spare, app/sections.c), and the segment comes
last in the file and in memory. System V ABI, "Program Header": offset and address are equal modulo the largest page of
Linux, so no more than a small page is lost between them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edgeq.errors import ToolchainError

PAGE, LARGEST_PAGE = 1 << 12, 1 << 16
PT_LOAD, PT_NOTE, READ = 1, 4, 4
_HEADER = struct.Struct("<16s2HI3QI6H")  # Elf64_Ehdr
_SEGMENT = struct.Struct("<2I6Q")  # Elf64_Phdr


@dataclass(frozen=True)
class Segment:
    """A program header; `flags` is 4 for read only, offsets and sizes are in bytes."""

    type: int
    flags: int
    offset: int
    address: int
    physical: int
    file_bytes: int
    memory_bytes: int
    align: int


def read_segments(program: bytes) -> tuple[int, list[Segment]]:
    """Where the program headers stand, and what they say; raises ToolchainError for what is no 64-bit ELF."""
    if len(program) < _HEADER.size or program[:6] != b"\x7fELF\x02\x01":
        raise ToolchainError("the linked program is no little-endian 64-bit ELF file")
    header = _HEADER.unpack_from(program)
    start, size, count = header[5], header[9], header[10]
    if size != _SEGMENT.size:
        raise ToolchainError(f"the linked program has program headers of {size} bytes instead of {_SEGMENT.size}")
    return start, [Segment(*_SEGMENT.unpack_from(program, start + i * size)) for i in range(count)]


def add_segment(program: bytes, data_bytes: int) -> bytes:
    """Make room for a read-only segment of `data_bytes` behind a program.

    Returns:
        the program with the new header, padded to where the segment's bytes begin in the file.

    Raises:
        ToolchainError: no ELF, or no note whose header can be taken.
    """
    start, segments = read_segments(program)
    notes = [segment for segment in segments if segment.type == PT_NOTE]
    if not notes:
        raise ToolchainError("the linked program has no note whose program header could be taken")
    segments.remove(notes[0])
    last = max(i for i, segment in enumerate(segments) if segment.type == PT_LOAD)
    offset = aligned(len(program), PAGE)
    end = max(s.address + s.memory_bytes for s in segments if s.type == PT_LOAD)
    address = aligned(end, LARGEST_PAGE) + offset % LARGEST_PAGE
    new = Segment(PT_LOAD, READ, offset, address, address, data_bytes, data_bytes, LARGEST_PAGE)
    segments.insert(last + 1, new)
    out = bytearray(program) + bytes(offset - len(program))
    for i, segment in enumerate(segments):
        _SEGMENT.pack_into(out, start + i * _SEGMENT.size, *vars(segment).values())
    return bytes(out)


def aligned(value: int, align: int) -> int:
    """The next multiple of `align`."""
    return -(-value // align) * align
