"""The bandwidth measurement reads what it says; how fast is not asserted."""

from __future__ import annotations

import pytest

from edgeq.errors import ToolchainError, UsageError
from edgeq.measure import native
from edgeq.measure.bandwidth import buffer_bytes, read_bandwidth
from edgeq.measure.machine import this_machine


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_reads_the_whole_buffer_in_equal_parts(threads):
    result = read_bandwidth(threads, size=3 << 20, passes=3)
    assert result.threads == threads
    assert 0 <= (3 << 20) - result.buffer_bytes < threads * 256
    assert 0 < result.bytes_per_s <= result.best_bytes_per_s


def test_no_threads_is_refused():
    with pytest.raises(UsageError, match="0 threads"):
        read_bandwidth(0, size=1 << 20, passes=1)


def test_buffer_is_larger_than_any_cache():
    assert buffer_bytes() >= 4 * this_machine().cache_bytes


def test_broken_c_is_a_toolchain_error_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEQ_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "broken.c"
    source.write_text("int f( {")
    with pytest.raises(ToolchainError, match="error"):
        native.library(source)
    assert not list((tmp_path / "cache").rglob("*.so"))


def test_a_library_is_compiled_once(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEQ_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "seven.c"
    source.write_text("int seven(void) { return 7; }")
    assert native.library(source).seven() == 7
    monkeypatch.setattr(native, "_build", lambda *_: pytest.fail("compiled again"))
    assert native.library(source).seven() == 7
