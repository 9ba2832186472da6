"""What was measured on this machine, in the user's cache: the next prediction does not measure it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeq.lower.objects import cache_folder
from edgeq.predict.machine import machine_key

MOST = 4000  # timings in one file; older ones are dropped


class Timings:
    """Measurements by name, of one machine and number of threads; `again` forgets what was measured before."""

    def __init__(self, threads: int, again: bool = False) -> None:
        self.path = cache_folder() / "predict" / f"{machine_key(threads)}.json"
        self._again, self._fresh = again, set[str]()
        self._kept = _read(self.path)

    def get(self, name: str) -> Any | None:
        """The measurement, None where it is still to be made."""
        return None if self._again and name not in self._fresh else self._kept.get(name)

    def put(self, found: Mapping[str, Any]) -> None:
        """Keep measurements; what another process wrote meanwhile stays."""
        self._fresh |= set(found)
        merged = _read(self.path) | self._kept | dict(found)
        self._kept = dict(list(merged.items())[-MOST:])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(f".{id(self)}.part")
        part.write_text(json.dumps(self._kept))
        part.replace(self.path)


def _read(path: Path) -> dict[str, Any]:
    """{} for a file that is not there or that something damaged: it is measured again."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
