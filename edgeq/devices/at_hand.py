"""Devices that can be named from here, without connecting to any."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgeq.devices.adb import serials

SSH_CONFIG = Path("~/.ssh/config")


def at_hand() -> list[tuple[str, str]]:
    """(spec, about) of this machine, emulators, Android devices and hosts of the user's ssh configuration."""
    emulator = [("qemu", "emulated AArch64 processor: counts, no times")] if shutil.which("qemu-aarch64") else []
    android = [(f"adb:{serial}", "Android device") for serial in serials()]
    hosts = [(f"ssh://{host}", f"in {SSH_CONFIG}") for host in ssh_hosts(SSH_CONFIG.expanduser())]
    return [("local", "this machine"), *emulator, *android, *hosts]


def ssh_hosts(config: Path) -> list[str]:
    """Names after `Host`, patterns left out; empty when the file cannot be read."""
    try:
        lines = config.read_text(errors="replace").splitlines()
    except OSError:
        return []
    named = [line.split()[1:] for line in lines if line.strip().lower().startswith("host ")]
    return [host for hosts in named for host in hosts if not set(host) & set("*?!")]
