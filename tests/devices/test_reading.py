"""From what systems print to facts: a phone, a board, this kind of machine, and nonsense."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.devices import arm_parts
from edgeq.devices.facts import Cluster, DeviceFacts
from edgeq.devices.reading import CPU, read_facts

PARTS = {0: "0xd05", 1: "0xd05", 2: "0xd05", 3: "0xd05", 4: "0xd41", 5: "0xd41", 6: "0xd44", 7: "0xd44"}
CLOCKS = {**dict.fromkeys(range(4), 1803000), 4: 2253000, 5: 2253000, 6: 2802000, 7: 2802000}
BLOCK = "processor\t: {n}\nBogoMIPS\t: 49.15\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: {part}\n\n"


def printed(files: dict[str, str]) -> dict:
    return {"arch": "aarch64", "system": "Linux 5.10", "cores": 8, "features": "neon dotprod", "files": files}


def phone() -> dict[str, str]:
    info = "".join(BLOCK.format(n=n, part=part) for n, part in PARTS.items()) + "Hardware\t: Tensor\n"
    clocks = {f"{CPU}cpu{n}/cpufreq/cpuinfo_max_freq": f"{khz}\n" for n, khz in CLOCKS.items()}
    now = {f"{CPU}cpu{n}/cpufreq/scaling_cur_freq": "300000\n" for n in CLOCKS}
    zones = {
        "/sys/class/thermal/thermal_zone0/type": "BIG\n",
        "/sys/class/thermal/thermal_zone0/temp": "41500\n",
        "/sys/class/thermal/thermal_zone9/temp": "-274000\n",
    }
    memory = "MemTotal:        7837692 kB\nMemFree:  1 kB\nMemAvailable:    3210000 kB\n"
    return {"/proc/cpuinfo": info, "/proc/meminfo": memory, **clocks, **now, **zones}


def test_a_phone_of_three_kinds_of_cores():
    facts = read_facts("adb:1", printed(phone()), None)
    assert facts.clusters == (
        Cluster("Cortex-A55", 4, 1803000000),
        Cluster("Cortex-A78", 2, 2253000000),
        Cluster("Cortex-X1", 2, 2802000000),
    )
    assert facts.cpu == "Tensor (4x Cortex-A55 + 2x Cortex-A78 + 2x Cortex-X1)"
    assert (facts.memory_bytes, facts.available_bytes) == (7837692 * 1024, 3210000 * 1024)
    assert facts.temperatures == {"0 BIG": 41.5}, "a sensor that reads below zero is off"
    assert facts.frequencies == {str(n): 300_000_000 for n in range(8)}
    assert facts.features == ("neon", "dotprod") and facts.bandwidth == facts.int8 == ()


def test_midr_goes_before_cpuinfo():
    files = {f"{CPU}cpu0/regs/identification/midr_el1": "0x00000000414fd0b1\n", "/proc/cpuinfo": "processor\t: 0\n"}
    facts = read_facts("ssh://board", printed({**files, "/proc/device-tree/model": "A Board 5\0"}), None)
    assert facts.clusters == (Cluster("Cortex-A76", 1, 0),) and facts.product == "A Board 5"


def test_a_part_without_a_name_keeps_its_number():
    assert arm_parts.name(0x61 << 24 | 0x22 << 4) == "Apple 0x022"
    assert arm_parts.name(0x1B << 24 | 0x1 << 4) == "0x1b part 0x001"


def test_caches_by_level_and_kind():
    cache = f"{CPU}cpu0/cache/"
    files = {}
    for index, (level, kind, size) in enumerate(
        [("1", "Data", "64K"), ("1", "Instruction", "64K"), ("2", "Unified", "1M")]
    ):
        for name, value in (("level", level), ("type", kind), ("size", size)):
            files[f"{cache}index{index}/{name}"] = value + "\n"
    found = read_facts("x", printed(files), None).cache_bytes
    assert found == {"L1d": 64 << 10, "L1i": 64 << 10, "L2": 1 << 20}


def test_facts_survive_json():
    rates = {
        "bandwidth": [{"threads": 1, "bytes_per_s": 2e9, "best_bytes_per_s": 3e9, "buffer_bytes": 9, "prefetch": True}],
        "int8": [{"threads": 1, "ops_per_s": 4e9, "instruction": "sdot"}],
    }
    facts = read_facts("adb:1", printed(phone()), rates)
    assert DeviceFacts.from_json(facts.to_json()) == facts
    assert facts.bandwidth[0].bytes_per_s == 2e9 and facts.int8[0].instruction == "sdot"


MORE = ("cache/index0/level", "cache/index0/size", "regs/identification/midr_el1")
PATHS = st.sampled_from([*phone(), *(f"{CPU}cpu0/{path}" for path in MORE)])
WORDS = st.sampled_from(["processor", "CPU part", "MemTotal", ":", "\n", "\n\n", "0x", "7", "²", "kB", "K", "-", " "])
TEXTS = st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=12).map("".join))


@settings(deadline=None)
@given(st.dictionaries(PATHS, TEXTS))
def test_nonsense_is_unknown_and_no_error(files):
    facts = read_facts("x", printed(files), None)
    assert facts.memory_bytes >= 0 and len(facts.clusters) <= len(files)
