"""The segment behind a program: its header is last among those loaded, and everything else stays as it was."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.errors import ToolchainError
from edgeq.package.elf import LARGEST_PAGE, PAGE, PT_LOAD, PT_NOTE, READ, add_segment, read_segments


def elf(types: list[int], size: int, memory: int) -> bytes:
    """A program of `size` bytes whose loaded segments follow each other in memory."""
    headers = b"".join(
        struct.pack("<2I6Q", kind, 5, 0, 0x400000 + i * memory, 0, size, memory, 4096) for i, kind in enumerate(types)
    )
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    head = struct.pack("<16s2HI3QI6H", ident, 2, 62, 1, 0x401000, 64, 0, 0, 64, 56, len(types), 0, 0, 0)
    return (head + headers).ljust(size, b"\xaa")


@given(size=st.integers(1024, 300_000), memory=st.integers(1, 1 << 22), data=st.integers(1, 1 << 40))
def test_the_new_segment_lies_behind_all_others(size: int, memory: int, data: int) -> None:
    program = elf([PT_LOAD, PT_NOTE, PT_LOAD, 7], size, memory)
    out = add_segment(program, data)
    _, segments = read_segments(out)
    assert [s.type for s in segments] == [PT_LOAD, PT_LOAD, PT_LOAD, 7]
    new = segments[2]
    assert (new.flags, new.offset) == (READ, len(out))
    assert new.file_bytes == new.memory_bytes == data
    assert new.offset % LARGEST_PAGE == new.address % LARGEST_PAGE and new.offset % PAGE == 0
    assert new.address >= 0x400000 + 3 * memory and len(out) - size < PAGE
    assert out[64 + 4 * 56 : size] == program[64 + 4 * 56 :]


def test_a_program_without_a_note_has_no_header_to_spare() -> None:
    with pytest.raises(ToolchainError, match="no note"):
        add_segment(elf([PT_LOAD, 7], 4096, 4096), 10)


@pytest.mark.parametrize("program", [b"", b"#!/bin/sh\n" * 20, b"\x7fELF\x01\x01" + bytes(90)])
def test_what_is_no_program_is_refused(program: bytes) -> None:
    with pytest.raises(ToolchainError, match="no little-endian 64-bit ELF"):
        add_segment(program, 10)
