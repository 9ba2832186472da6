"""Resident memory follows what is allocated."""

from __future__ import annotations

import numpy as np
import pytest

from edgeq.measure import memory


def test_peak_sees_memory_that_is_gone():
    if not memory.reset_peak():
        pytest.skip("this kernel does not reset the high water mark")
    before = memory.resident_bytes()
    block = np.ones(40 << 20, np.uint8)
    del block
    assert memory.peak_resident_bytes() - before > 30 << 20


def test_unknown_is_zero(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "missing")
    assert memory.resident_bytes() == 0
