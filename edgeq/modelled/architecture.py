"""The instruction sets that can be emulated and modelled."""

from __future__ import annotations

from dataclasses import dataclass

from edgeq.errors import UnsupportedError, UsageError


@dataclass(frozen=True)
class Processor:
    """A core of a kind.

    Attributes:
        cpu: LLVM's name of its scheduling model. stands_for: the cores meant.
        clock_hz: assumed when nothing else is said. clock_source: a product that runs at it.
    """

    cpu: str
    stands_for: str
    clock_hz: float
    clock_source: str


@dataclass(frozen=True)
class Architecture:
    """An instruction set.

    Attributes:
        target: edgeq's target for it. machine: ELF's number of it. emulator: program. triple: LLVM's.
        step: bytes of every instruction, 0 where lengths differ. cpu: emulated when none is named.
        processors: modelled cores.
    """

    target: str
    machine: int
    emulator: str
    triple: str
    step: int
    cpu: str
    processors: tuple[Processor, ...]


ARM64 = Architecture(
    "arm64", 183, "qemu-aarch64", "aarch64-linux-gnu", 4, "cortex-a76",
    (
        Processor("cortex-a55", "little cores of phones and boards, in order", 1.8e9, "RK3588's Cortex-A55"),
        Processor("neoverse-n1", "Cortex-A76 class", 2.4e9, "Raspberry Pi 5's Cortex-A76"),
        Processor("neoverse-v1", "Cortex-X1 class", 2.8e9, "Google Tensor's Cortex-X1"),
    ),
)  # fmt: skip
X86_64 = Architecture(
    "x86-64", 62, "qemu-x86_64", "x86_64-linux-gnu", 0, "max",
    (
        Processor("haswell", "Intel cores with AVX2", 3.0e9, "Core i5-4590"),
        Processor("znver4", "AMD Zen 4 and later", 3.5e9, "Ryzen 7940U"),
    ),
)  # fmt: skip
ALL = (ARM64, X86_64)


def of_target(target: str) -> Architecture:
    """That of an artifact's target; raises UsageError when it cannot be emulated."""
    for architecture in ALL:
        if architecture.target == target:
            return architecture
    raise UsageError(f"artifacts for {target} cannot be emulated; only {', '.join(a.target for a in ALL)}")


def of_machine(machine: int) -> Architecture:
    """That of an ELF file; raises UnsupportedError for another."""
    for architecture in ALL:
        if architecture.machine == machine:
            return architecture
    raise UnsupportedError(f"ELF machine {machine} cannot be modelled; only {', '.join(a.target for a in ALL)}")


def of_core(cpu: str) -> Architecture:
    """That of a modelled core, by LLVM's name; raises UsageError for another."""
    for architecture in ALL:
        if any(processor.cpu == cpu for processor in architecture.processors):
            return architecture
    raise UsageError(f"no modelled core {cpu!r}")
