"""The instruction sets that kernels are tested on: x86-64 as far as the machine has it, arm64 under an emulator."""

from __future__ import annotations

import platform
from pathlib import Path

from qemu import CPUS, available

from edgeq.targets import find
from edgeq.targets.isa import Isa

# The kernel's spelling in /proc/cpuinfo where it differs from ours.
_FLAG = {"avx512vnni": "avx512_vnni", "avx512vpopcntdq": "avx512_vpopcntdq"}


def native() -> tuple[Isa, ...]:
    """The x86-64 variants that this machine can execute; none on another kind of machine."""
    if platform.machine() != "x86_64":
        return ()
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    flags = set(next((line.split() for line in cpuinfo.splitlines() if line.startswith("flags")), []))
    return tuple(i for i in find("x86-64").every if all(_FLAG.get(f, f) in flags for f in i.needs))


def emulated() -> tuple[Isa, ...]:
    """The arm64 variants, none where no emulator is and none is demanded."""
    return tuple(i for i in find("arm64").isas if available())


NATIVE, EMULATED = native(), emulated()
ISAS = (*NATIVE, *EMULATED)


def cpu(isa: Isa) -> str:
    """The emulated CPU that an arm64 variant is tested on."""
    return CPUS[isa.name]
