"""Resident memory follows what is allocated."""

from __future__ import annotations

import mmap

import pytest

from edgeq.measure import memory


def test_peak_sees_memory_that_is_gone():
    if not memory.reset_peak():
        pytest.skip("this kernel does not reset the high water mark")
    before = memory.resident_bytes()
    with mmap.mmap(-1, 40 << 20) as block:  # new pages, never memory that the process has freed
        block.write(bytes(40 << 20))
    assert memory.peak_resident_bytes() - before > 30 << 20


def test_unknown_is_zero(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "missing")
    assert memory.resident_bytes() == 0
