"""A measured device file: what a device did with some artifacts, and the model fitted to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeq.errors import OutputError, UsageError
from edgeq.modelled.calibration import Calibration, Item, summary
from edgeq.modelled.estimate import Machine

SCHEMA_VERSION, KIND = 1, "edgeq device"


@dataclass(frozen=True)
class DeviceModel:
    """What predictions need of a device file.

    Attributes:
        name: the device. cpu: LLVM's name of the core that explains it. machine: cycles and bytes a second, fitted.
        error: as `calibration.summary`, of whole entries that the fit had not seen.
    """

    name: str
    cpu: str
    machine: Machine
    error: dict[str, Any]


def describe(
    name: str, facts: dict[str, Any], variants: dict[str, str], bandwidth: float, items: Sequence[Item],
    found: Calibration,
) -> dict[str, Any]:  # fmt: skip
    """The object of a device file."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": KIND,
        "device": name,
        "facts": facts,
        "threads": 1,
        "variants": variants,
        "read_bandwidth_bytes_per_s": bandwidth,
        "model": {
            "core": found.cpu,
            "cycles_per_s": found.machine.clock_hz,
            "bytes_per_s": found.machine.bandwidth,
            "fitted": "cycles_per_s and bytes_per_s: medians, by time, of the measured ops that each bounds; "
            "the core: the one with the least error",
        },
        "error": {
            "left_out": f"one {found.left_out} at a time; its times are predicted from the others",
            "entries": summary(found.entries),
            "kernels": summary(found.kernels),
        },
        "predictions": [asdict(p) for p in (*found.entries, *found.kernels)],
        "measured": [asdict(item) for item in items],
    }


def write(result: dict[str, Any], path: Path) -> None:
    """Write a device file; raises OutputError."""
    try:
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    except OSError as e:
        raise OutputError(f"cannot write {path}: {e.strerror}") from e


def read(path: Path) -> DeviceModel:
    """The model of a device file; raises UsageError for what is none."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        if body["kind"] != KIND or body["schema_version"] != SCHEMA_VERSION:
            raise KeyError("kind or schema_version")
        model, error = body["model"], dict(body["error"]["entries"])
        machine = Machine(float(model["cycles_per_s"]), float(model["bytes_per_s"]))
        return DeviceModel(body["device"], model["core"], machine, {**error, "left_out": body["error"]["left_out"]})
    except OSError as e:
        raise UsageError(f"{path}: {e.strerror}") from e
    except (ValueError, KeyError, TypeError) as e:
        raise UsageError(f"{path} is no device file ({e}); make one with `edgeq devices measure`") from e
