"""Targets by name: one file a target, found here."""

from __future__ import annotations

import platform

from edgeq.errors import UsageError
from edgeq.targets.isa import Isa
from edgeq.targets.target import Target

__all__ = ["Isa", "Target", "find", "names", "runs_here"]


def _all() -> dict[str, Target]:
    from edgeq.targets import arm64, x86_64

    return {t.name: t for t in (x86_64.TARGET, arm64.TARGET)}


def names() -> list[str]:
    """Every name that `--target` takes, `native` first."""
    return ["native", *_all()]


def native_name() -> str:
    """Name of the target that this machine is; raises UsageError when edgeq has none for it."""
    machine = platform.machine()
    for name, target in _all().items():
        if machine in target.machines:
            return name
    raise UsageError(f"--target native: no target for this machine ({machine}); known: {', '.join(_all())}")


def runs_here(name: str) -> bool:
    """Whether this machine is of the target called `name`."""
    return name in _all() and platform.machine() in _all()[name].machines


def find(name: str) -> Target:
    """Target called `name` or known so elsewhere (`native`: this machine's); raises UsageError listing the known."""
    targets = _all()
    resolved = native_name() if name == "native" else name
    for target in targets.values():
        if resolved in (target.name, *target.machines, *target.aliases):
            return target
    raise UsageError(f"unknown target {name!r}; known: {', '.join(names())}")
