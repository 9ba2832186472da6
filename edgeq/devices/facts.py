"""What a device is: processor, features, memory, and what it was measured to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Cluster:
    """Cores of one kind: `name` as the system says it, `cores` of them online, `max_hz` 0 when unknown."""

    name: str
    cores: int
    max_hz: int


@dataclass(frozen=True)
class ReadRate:
    """Measured bytes a second that `threads` threads read together from memory, each its own part of one buffer."""

    threads: int
    bytes_per_s: float
    buffer_bytes: int
    prefetch: bool


@dataclass(frozen=True)
class Int8Rate:
    """Measured operations a second (a multiply and an add are two) of `threads` threads with `instruction`."""

    threads: int
    ops_per_s: float
    instruction: str


@dataclass(frozen=True)
class DeviceFacts:
    """One device. What a system does not say is "", 0 or empty; what was not measured is empty.

    Attributes:
        name: the device's spec, `ssh://pi@board`.
        cpu: the processor's own name. clusters: kinds of cores (big and little), in the order of their numbers.
        arch: `uname -m`: `x86_64`, `aarch64`. system: `uname -sr`.
        cores: processors online that a process may use.
        memory_bytes: physical memory. available_bytes: of it, what programs could still get.
        cache_bytes: of core 0, by `L1d`, `L1i`, `L2`, `L3`.
        features: instruction-set features, named as targets name them (`dotprod`).
        bandwidth: measured reading, by number of threads. int8: measured peak of the best dot product.
        temperatures: degrees Celsius by thermal zone. frequencies: Hz now by core number.
        emulated: true when no real processor runs it: then nothing of it is a time.
        product: what its maker calls it: `Pixel 8`, `Raspberry Pi 5 Model B`.
    """

    name: str
    cpu: str
    clusters: tuple[Cluster, ...]
    arch: str
    system: str
    cores: int
    memory_bytes: int
    available_bytes: int
    cache_bytes: dict[str, int]
    features: tuple[str, ...]
    bandwidth: tuple[ReadRate, ...] = ()
    int8: tuple[Int8Rate, ...] = ()
    temperatures: dict[str, float] | None = None
    frequencies: dict[str, int] | None = None
    emulated: bool = False
    product: str = ""

    @staticmethod
    def from_json(value: dict[str, Any]) -> DeviceFacts:
        """Facts from what `to_json` gave; a TypeError or KeyError means that it gave something else."""
        nested = {
            "clusters": tuple(Cluster(**item) for item in value["clusters"]),
            "features": tuple(value["features"]),
            "bandwidth": tuple(ReadRate(**item) for item in value.get("bandwidth") or ()),
            "int8": tuple(Int8Rate(**item) for item in value.get("int8") or ()),
        }
        return DeviceFacts(**{**value, **nested})

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)
