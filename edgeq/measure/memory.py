"""Resident memory of this process, as Linux counts it."""

from __future__ import annotations

from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")


def resident_bytes() -> int:
    """VmRSS now; 0 when the system does not say."""
    return _field("VmRSS")


def peak_resident_bytes() -> int:
    """VmHWM, the high water since the process started or `reset_peak`; 0 when the system does not say."""
    return _field("VmHWM")


def reset_peak() -> bool:
    """Let the high water start again from now; False when the system does not allow it."""
    try:
        CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def _field(name: str) -> int:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":")), 0)
