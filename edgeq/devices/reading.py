"""From a device's own /proc and /sys, as its probe printed them, to facts."""

from __future__ import annotations

import re
from typing import Any

from edgeq.devices import arm_parts
from edgeq.devices.facts import Cluster, DeviceFacts, Int8Rate, ReadRate
from edgeq.measure.machine import cache_bytes, cpu_field

CPU = "/sys/devices/system/cpu/"
_READ = ("threads", "bytes_per_s", "buffer_bytes", "prefetch")


def read_facts(name: str, printed: dict[str, Any], rates: dict[str, Any] | None, emulated: bool = False) -> DeviceFacts:
    """Facts of the device called `name` from what `probe facts` and `probe rates` (None: not measured) printed."""
    files: dict[str, str] = printed["files"]
    clusters = _clusters(files)
    rates = rates or {"bandwidth": [], "int8": []}
    return DeviceFacts(
        name=name,
        cpu=_cpu(files, clusters),
        clusters=clusters,
        arch=printed["arch"],
        system=printed["system"],
        cores=printed["cores"],
        memory_bytes=meminfo(files, "MemTotal"),
        available_bytes=meminfo(files, "MemAvailable"),
        cache_bytes=_caches(files),
        features=tuple(printed["features"].split()),
        bandwidth=tuple(ReadRate(**{key: rate[key] for key in _READ}) for rate in rates["bandwidth"]),
        int8=tuple(Int8Rate(**rate) for rate in rates["int8"]),
        temperatures=_temperatures(files),
        frequencies=_by_core(files, "cpufreq/scaling_cur_freq", 1000),
        emulated=emulated,
        product=printed.get("product") or files.get("/proc/device-tree/model", "").strip("\0\n "),
    )


def meminfo(files: dict[str, str], field: str) -> int:
    """Bytes of a field of /proc/meminfo, whose "kB" are 1024; 0 when it is not there."""
    found = re.search(rf"^{field}:\s*(\d+) kB", files.get("/proc/meminfo", ""), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _cpu(files: dict[str, str], clusters: tuple[Cluster, ...]) -> str:
    info = files.get("/proc/cpuinfo", "")
    kinds = " + ".join(f"{c.cores}x {c.name}" for c in clusters if c.name)
    hardware = cpu_field(info, "Hardware") or cpu_field(info, "Model")
    return cpu_field(info, "model name") or (f"{hardware} ({kinds})" if hardware and kinds else hardware or kinds)


def _clusters(files: dict[str, str]) -> tuple[Cluster, ...]:
    """Cores in the order of their numbers; those of one name and highest clock are one kind."""
    names, clocks = _core_names(files), _by_core(files, "cpufreq/cpuinfo_max_freq", 1000)
    counts: dict[tuple[str, int], int] = {}
    for core in sorted({*names, *map(int, clocks)}):
        kind = names.get(core, ""), clocks.get(str(core), 0)
        counts[kind] = counts.get(kind, 0) + 1
    return tuple(Cluster(name, cores, max_hz) for (name, max_hz), cores in counts.items())


def _core_names(files: dict[str, str]) -> dict[int, str]:
    """By core number: of MIDR_EL1 where the system shows it, else of /proc/cpuinfo's blocks."""
    pattern = re.compile(CPU + r"cpu(\d+)/regs/identification/midr_el1")
    found = [(m, _hexadecimal(text)) for path, text in files.items() if (m := pattern.fullmatch(path))]
    midr = {int(m[1]): arm_parts.name(value) for m, value in found if value is not None}
    if midr:
        return midr
    blocks = re.split(r"\n\s*\n", files.get("/proc/cpuinfo", ""))
    return {int(n): _block_name(block) for block in blocks if (n := cpu_field(block, "processor")).isdecimal()}


def _block_name(block: str) -> str:
    maker, part = _hexadecimal(cpu_field(block, "CPU implementer")), _hexadecimal(cpu_field(block, "CPU part"))
    if maker is not None and part is not None:
        return arm_parts.name(maker << 24 | part << 4)
    return cpu_field(block, "model name")


def _caches(files: dict[str, str]) -> dict[str, int]:
    folder = CPU + "cpu0/cache/"
    found = {}
    for path in files:
        if path.startswith(folder) and path.endswith("/level"):
            index = path.removesuffix("level")
            kind = {"Data": "d", "Instruction": "i"}.get(files.get(index + "type", "").strip(), "")
            found[f"L{files[path].strip()}{kind}"] = cache_bytes(files.get(index + "size", ""))
    return found


def _by_core(files: dict[str, str], what: str, unit: int) -> dict[str, int]:
    pattern = re.compile(CPU + r"cpu(\d+)/" + what)
    read = [(m, text) for path, text in files.items() if (m := pattern.fullmatch(path)) and _number(text)]
    return {str(core): hz for core, hz in sorted((int(m[1]), int(text) * unit) for m, text in read)}


def _temperatures(files: dict[str, str]) -> dict[str, float]:
    """Degrees by the zone's number and kind; sensors that read nothing sensible are left out."""
    found = {}
    for path, text in files.items():
        zone = re.fullmatch(r"/sys/class/thermal/thermal_zone(\d+)/temp", path)
        if zone and _number(text) and 0 < int(text) < 150_000:
            kind = files.get(path.removesuffix("temp") + "type", "").strip()
            found[f"{zone[1]} {kind}".strip()] = int(text) / 1000
    return found


def _number(text: str) -> bool:
    return text.strip().lstrip("-").isdecimal()


def _hexadecimal(text: str) -> int | None:
    found = re.fullmatch(r"0x([0-9a-fA-F]+)", text.strip())
    return int(found[1], 16) if found else None
