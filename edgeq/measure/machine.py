"""What this machine is: processor, cores, instruction-set features, memory."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
MEMINFO = Path("/proc/meminfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_SPELLINGS = {"asimd": "neon", "asimddp": "dotprod", "asimdhp": "fullfp16"}  # Linux's names -> targets


@dataclass(frozen=True)
class Machine:
    """One machine as `edgeq targets` and a profile describe it.

    Attributes:
        cpu: the processor's own name.
        arch: `platform.machine()`.
        system: `Linux`, ...
        cores: logical processors that this process may use.
        memory_bytes: physical memory, 0 when unknown.
        cache_bytes: the largest cache of core 0, 0 when unknown.
        features: instruction-set features, named as targets name them (`avx512vnni`).
    """

    cpu: str
    arch: str
    system: str
    cores: int
    memory_bytes: int
    cache_bytes: int
    features: frozenset[str]


def this_machine() -> Machine:
    """Describe the machine that runs this; what the system does not say is "" or 0."""
    info = _read(CPUINFO)
    return Machine(
        cpu=cpu_field(info, "model name") or platform.processor(),
        arch=platform.machine(),
        system=platform.system(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=memory_bytes(_read(MEMINFO)),
        cache_bytes=max((cache_bytes(_read(size)) for size in CACHES.glob("index*/size")), default=0),
        features=features(info),
    )


def features(cpuinfo: str) -> frozenset[str]:
    """Features of the first processor in /proc/cpuinfo, spelt as targets do: `avx512vnni`, `dotprod`."""
    flags = cpu_field(cpuinfo, "flags") or cpu_field(cpuinfo, "Features")
    return frozenset(_SPELLINGS.get(flag, flag.replace("avx512_", "avx512")) for flag in flags.split())


def cpu_field(cpuinfo: str, name: str) -> str:
    """Value of the first line `name : value`; "" when there is none."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def memory_bytes(meminfo: str) -> int:
    """`MemTotal` of /proc/meminfo, whose "kB" are 1024 bytes."""
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def cache_bytes(size: str) -> int:
    """`32768K` of sysfs -> bytes; 0 for what is not such a size."""
    number, unit = size.strip()[:-1], size.strip()[-1:]
    return int(number) * {"K": 1024, "M": 1024**2}.get(unit, 0) if number.isdecimal() else 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
