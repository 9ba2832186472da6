"""Other programs on the machine: seeing what they take, waiting for them, and being one (--busy)."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

SPIN = "import os; os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})\nwhile True: pass"


def busy_seconds() -> float:
    """CPU seconds that all programs have used since the machine started (idle and waiting excluded)."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _wait, irq, soft, steal = ticks
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """CPU seconds of this process and of the children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


class Others:
    """Measures the cores that others took: `with Others() as others: ...; others.cores`."""

    cores = 0.0

    def __enter__(self) -> Others:
        self.start = (busy_seconds(), own_seconds(), time.monotonic())
        return self

    def __exit__(self, *_: object) -> None:
        busy, own, clock = self.start
        taken = (busy_seconds() - busy) - (own_seconds() - own)
        self.cores = max(0.0, taken / max(time.monotonic() - clock, 1e-3))


def wait_until_quiet(limit_seconds: float, cores: float) -> None:
    """Return once others take less than `cores` for a second, or after `limit_seconds`."""
    end = time.monotonic() + limit_seconds
    while time.monotonic() < end:
        with Others() as others:
            time.sleep(1)
        if others.cores < cores:
            return


@contextlib.contextmanager
def one_core_taken(wanted: bool) -> Iterator[None]:
    """While inside, a process of ours spins on the last core (if `wanted`)."""
    spinner = subprocess.Popen([sys.executable, "-c", SPIN]) if wanted else None
    try:
        yield
    finally:
        if spinner:
            spinner.kill()
            spinner.wait()
