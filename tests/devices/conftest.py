"""Servers that devices are reached through, started once for the tests that need them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sshd as openssh
from adbd import Adbd
from cutting import Proxy, free_port


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openssh.Sshd]:
    """A real OpenSSH server; `EDGEQ_SSH` is the client that it lets in."""
    program = openssh.find_sshd()
    if not program or not shutil.which("ssh"):
        pytest.skip("no OpenSSH here: .ci/install-tool sshd openssh-server")
    server = openssh.start(program, tmp_path_factory.mktemp("sshd"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEQ_SSH", server.command)
        yield server
    server.process.terminate()
    server.process.wait(10)


@dataclass
class Phone:
    """A device that the real adb client and server talk to."""

    daemon: Adbd
    environment: dict[str, str]

    def connect(self, port: int) -> str:
        """Its serial number through a port of loopback."""
        serial = f"127.0.0.1:{port}"
        done = subprocess.run(
            ["adb", "connect", serial], env=self.environment, capture_output=True, text=True, timeout=60
        )
        assert "connected to" in done.stdout, done
        return serial


@pytest.fixture(scope="session")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phone]:
    if not shutil.which("adb"):
        pytest.skip("no adb here: .ci/install-tool adb adb")
    home = tmp_path_factory.mktemp("adb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANDROID_ADB_SERVER_PORT", str(free_port()))
        patch.setenv("ANDROID_USER_HOME", str(home))
        patch.setenv("EDGEQ_ADB", f"env HOME={home} adb")  # keys and settings of the user's are left alone
        found = Phone(Adbd(), {**os.environ, "HOME": str(home)})
        yield found
        subprocess.run(["adb", "kill-server"], env=found.environment, capture_output=True, timeout=60)
        found.daemon.close()


@dataclass
class Wired:
    """A device's spec behind a cable that can be cut, and the folder that is edgeq's there."""

    spec: str
    folder: Path
    cable: Proxy | None = None


@pytest.fixture(params=["ssh", "adb"])
def wired(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Wired]:
    """Real clients on one end, a folder of this machine on the other."""
    folder = tmp_path / "the device"
    if request.param == "ssh":
        cable = Proxy(request.getfixturevalue("sshd").port)
        yield Wired(f"ssh://127.0.0.1:{cable.port}", folder, cable)
    else:
        phone = request.getfixturevalue("phone")
        cable = Proxy(phone.daemon.port)
        yield Wired(f"adb:{phone.connect(cable.port)}", folder, cable)
    cable.cut()
