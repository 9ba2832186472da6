from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeq.devices.device import open_device
from edgeq.devices.qemu import QemuDevice
from edgeq.errors import TargetError, UsageError

ECHO = r"""
__asm__(".globl _start\n_start: mov x0, #1\n adr x1, text\n mov x2, #3\n mov x8, #64\n svc #0\n"
        "mov x0, #7\n mov x8, #93\n svc #0\n text: .ascii \"hi\\n\"\n.p2align 2\n");
"""
CRASH = '__asm__(".globl _start\\n_start: sdot v0.4s, v1.16b, v2.16b\\n mov x0, #0\\n mov x8, #93\\n svc #0\\n");'
ENDLESS = '__asm__(".globl _start\\n_start: b _start\\n");'


@pytest.fixture
def device(emulator: None, tmp_path: Path) -> Iterator[QemuDevice]:
    with open_device("qemu:cortex-a72", str(tmp_path / "device")) as opened:
        assert isinstance(opened, QemuDevice)
        yield opened


def test_it_says_what_it_is_and_measures_nothing(device: QemuDevice) -> None:
    facts = device.describe()
    assert (facts.name, facts.arch, facts.emulated) == ("qemu:cortex-a72", "aarch64", True)
    assert "neon" in facts.features
    assert "dotprod" not in facts.features
    assert facts.bandwidth == facts.int8 == ()


def test_features_are_those_of_the_cpu(emulator: None, tmp_path: Path) -> None:
    with open_device("qemu:max", str(tmp_path)) as device:
        assert {"neon", "dotprod", "i8mm"} <= set(device.describe(measure=False).features)


def test_programs_are_pushed_once_and_run(device: QemuDevice, assemble: Callable[..., Path]) -> None:
    program = assemble(ECHO)
    assert device.push(program, "bin/echo")
    assert not device.push(program, "bin/echo")
    done = device.run(["bin/echo"], timeout_s=30)
    assert (done.stdout, done.status) == (b"hi\n", 7)


def test_files_come_back_and_go(device: QemuDevice, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    device.push(tmp_path / "a", "data/a")
    device.pull("data/a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"abc"
    device.remove("data")
    with pytest.raises(TargetError, match="no such file"):
        device.pull("data/a", tmp_path / "c")
    assert not list(device.folder.rglob(".part-*"))


def test_an_instruction_that_the_cpu_lacks_is_a_signal(device: QemuDevice, assemble: Callable[..., Path]) -> None:
    device.push(assemble(CRASH, "-mcpu=generic+dotprod"), "crash")
    assert device.run(["crash"], timeout_s=30).status == 128 + 4


def test_what_takes_too_long_is_ended(device: QemuDevice, assemble: Callable[..., Path]) -> None:
    device.push(assemble(ENDLESS), "endless")
    with pytest.raises(TargetError, match="took over 1 s and was ended"):
        device.run(["endless"], timeout_s=1)


def test_paths_outside_the_folder_and_unknown_cpus_are_refused(device: QemuDevice, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a path inside"):
        device.push(tmp_path, "../x")
    with pytest.raises(UsageError, match="cortex-a99"):
        open_device("qemu:cortex-a99", str(tmp_path / "other"))
