"""Reading what the system says of its processor and memory."""

from __future__ import annotations

import pytest

from edgeq import targets
from edgeq.measure import machine

CPUINFO = """processor\t: 0
model name\t: AMD EPYC
flags\t\t: fpu sse2 avx2 fma f16c avx512f avx512_vnni avx512_bf16 avx_vnni

processor\t: 1
model name\t: Another
"""


def test_features_are_spelt_as_targets_spell_them():
    assert machine.features(CPUINFO) >= {"avx2", "fma", "avx512f", "avx512vnni", "avx_vnni"}


def test_arm_features():
    assert machine.features("Features\t: fp asimd asimddp i8mm\n") == {"fp", "neon", "dotprod", "i8mm"}


def test_fields_come_from_the_first_processor():
    assert machine.cpu_field(CPUINFO, "model name") == "AMD EPYC"
    assert machine.cpu_field(CPUINFO, "no such field") == ""


@pytest.mark.parametrize(("text", "size"), [("32768K\n", 32 << 20), ("2M", 2 << 20), ("", 0), ("many", 0)])
def test_cache_bytes(text, size):
    assert machine.cache_bytes(text) == size


def test_memory_bytes():
    assert machine.memory_bytes("MemFree: 1 kB\nMemTotal:       1024 kB\n") == 1 << 20


def test_a_system_without_proc_is_described(monkeypatch, tmp_path):
    for name in ("CPUINFO", "MEMINFO", "CACHES"):
        monkeypatch.setattr(machine, name, tmp_path / "missing")
    here = machine.this_machine()
    assert (here.memory_bytes, here.cache_bytes, here.features) == (0, 0, frozenset())
    assert here.cores >= 1


def test_last_variant_of_every_target_needs_nothing():
    known = [targets.find(name) for name in targets.names() if name != "native"]
    assert all(target.isas[-1].needs == () for target in known)
