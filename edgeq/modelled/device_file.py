"""The model's sections of a device file (`devices.measurement`): how it was fitted, and how far off it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeq.errors import UsageError
from edgeq.modelled.architecture import Architecture, of_core
from edgeq.modelled.calibration import Calibration, Item, summary
from edgeq.modelled.estimate import Machine

FITTED = "cycles_per_s, bytes_per_s: medians, by time, of the measured ops that each bounds; core: that of least error"


@dataclass(frozen=True)
class DeviceModel:
    """What predictions need of a device file.

    Attributes:
        name: the device. file: the file's name. cpu: LLVM's name of the core that explains it.
        machine: cycles and bytes a second, fitted.
        error: as `calibration.summary`, of whole entries that the fit had not seen, and what it had left out.
    """

    name: str
    file: str
    cpu: str
    machine: Machine
    error: dict[str, Any]

    @property
    def architecture(self) -> Architecture:
        """Whose artifacts were measured; raises UsageError for a core that is not modelled."""
        return of_core(self.cpu)


def model_section(items: Sequence[Item], found: Calibration) -> dict[str, Any]:
    """`model`, `error`, `predictions` and `modelled_ops`."""
    return {
        "model": {
            "core": found.cpu,
            "cycles_per_s": found.machine.clock_hz,
            "bytes_per_s": found.machine.bandwidth,
            "threads": 1,
            "fitted": FITTED,
        },
        "error": {
            "left_out": f"one {found.left_out} at a time left out of the fit",
            "entries": summary(found.entries),
            "kernels": summary(found.kernels),
        },
        "predictions": {kind: [asdict(p) for p in getattr(found, kind)] for kind in ("entries", "kernels")},
        "modelled_ops": [asdict(item) for item in items],
    }


def read(path: Path) -> DeviceModel:
    """The model of a device file; raises UsageError for another file, or one that no model was fitted to."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        if "not_fitted" in body:
            raise UsageError(f"{path} holds measurements, but no model: {body['not_fitted']}")
        model, error = body["model"], {**body["error"]["entries"], "left_out": body["error"]["left_out"]}
        machine = Machine(float(model["cycles_per_s"]), float(model["bytes_per_s"]))
        return DeviceModel(body["device"]["name"], path.name, model["core"], machine, error)
    except OSError as e:
        raise UsageError(f"{path}: {e.strerror}") from e
    except (ValueError, KeyError, TypeError) as e:
        raise UsageError(f"{path} is no device file ({e!r}); make one with `edgeq devices measure`") from e
