from __future__ import annotations

from typing import Any

import pytest

from edgeq.modelled.estimate import Load, Machine, Seconds, seconds, total
from edgeq.modelled.workload import Work, kv_bytes, workload

MACHINE = Machine(clock_hz=2e9, bandwidth=10e9)
MANIFEST: dict[str, Any] = {
    "memory": {"kv_cache": 64_000, "context": 64},
    "kernels": [
        {"name": "gemv", "weight_bytes": 100, "family": "linear_int.gemv"},
        {"name": "attention", "weight_bytes": 0, "family": "attention.decode"},
    ],
    "entries": [
        {"name": "prefill", "regions": []},
        {"name": "decode", "regions": [{"kernels": ["gemv", "attention"]}, {"kernels": ["gemv"]}]},
    ],
}


def test_a_kernel_takes_the_longer_of_computing_and_reading() -> None:
    assert seconds(Load(cycles=4e6, bytes=1e6), MACHINE) == Seconds(compute=2e-3, memory=1e-4)
    assert seconds(Load(4e6, 1e6), MACHINE).bound == "compute"
    assert seconds(Load(4e6, 1e9), MACHINE).bound == "memory"


def test_kernels_follow_one_another() -> None:
    parts = [seconds(Load(4e6, 0), MACHINE), seconds(Load(0, 1e7), MACHINE)]
    assert total(parts) == pytest.approx(2e-3 + 1e-3)


def test_work_is_counted_by_the_plan_s_calls() -> None:
    assert workload(MANIFEST, "decode") == {"gemv": Work(2, 200, False), "attention": Work(1, 0, True)}


def test_the_cache_is_read_up_to_the_position_and_written_for_its_rows() -> None:
    assert kv_bytes(MANIFEST, rows=1, position=10) == 1000 * (10 + 2)
    assert kv_bytes(MANIFEST, rows=16, position=0) == 1000 * 32
    assert kv_bytes({"memory": {"kv_cache": 0, "context": 0}}, 1, 0) == 0
