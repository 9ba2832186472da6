"""The file that `edgeq devices measure` writes: what a device is, what it can do, and how fast artifacts ran on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgeq.devices.device import open_device
from edgeq.devices.facts import DeviceFacts
from edgeq.devices.profile import profile_on
from edgeq.errors import OutputError, TargetError, UsageError
from edgeq.measure.profile import Settings

SCHEMA_VERSION = 1
BRIEF_S, BRIEF_COOL_S = 2.0, 15.0
Report = Callable[[str, int, int], None]


def measure_device(
    spec: str, artifacts: Sequence[Path], brief: bool = False, folder: str | None = None,
    progress: Report | None = None, settings_for: Callable[[Path, Settings], Settings] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Facts of a device and profiles of artifacts on it, one after another; `settings_for` may adapt what is measured.

    Returns:
        `{"schema_version": 1, "measured": true, "time": ..., "device": DeviceFacts, "profiles": [profile, ...]}`; each
        profile is the object that `edgeq profile --json` prints.

    Raises:
        TargetError: the device is emulated, so nothing can be measured there; and as `profile_on`.
    """
    say = progress or (lambda stage, done, total: None)
    settings = Settings(budget_s=BRIEF_S, cool_s=BRIEF_COOL_S) if brief else Settings()
    with open_device(spec, folder) as device:
        if device.emulated:
            raise TargetError(
                f"{spec} is emulated: nothing can be measured there; edgeq profile --device {spec} counts"
            )
        say(f"measure {spec}", 0, 0)
        facts = device.describe()
        profiles = [
            profile_on(device, a, settings_for(a, settings) if settings_for else settings, say) for a in artifacts
        ]
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    found = {"device": facts.to_json(), "profiles": profiles}
    return {"schema_version": SCHEMA_VERSION, "measured": True, "time": now, **found}


def write(measurement: dict[str, Any], path: Path) -> None:
    """Write it as JSON; raises OutputError."""
    try:
        path.write_text(json.dumps(measurement, indent=2) + "\n")
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from None


def load(path: Path) -> tuple[DeviceFacts, list[dict[str, Any]]]:
    """(facts, profiles) of a file that `write` wrote; raises UsageError for any other file."""
    try:
        value = json.loads(path.read_text())
        if value["schema_version"] != SCHEMA_VERSION or value["measured"] is not True:
            raise ValueError("of another schema")
        return DeviceFacts.from_json(value["device"]), list(value["profiles"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not a file of `edgeq devices measure` ({error})") from None
