"""passes.json: what every pass did at every site, with channel ranges before and after, or why it declined."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeq.artifact.manifest import AGAIN
from edgeq.artifact.space import cannot_write
from edgeq.errors import ArtifactError

if TYPE_CHECKING:
    from edgeq.passes.pass_ import Range, Report, Site

PASSES = "passes.json"
SCHEMA = 1
MOST_BINS = 96
DIGITS = 4


@dataclass(frozen=True)
class Channels:
    """Ranges of an activation's channels, a bin for one or more consecutive ones.

    Attributes:
        channels: how many there are. low, high: of each bin the least and the largest value; None: not a finite number.
    """

    channels: int
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]

    @property
    def range(self) -> tuple[float, float]:
        """Least and largest value of all."""
        return min((v for v in self.low if v is not None), default=math.nan), max(
            (v for v in self.high if v is not None), default=math.nan
        )

    @property
    def magnitudes(self) -> list[float]:
        """Largest magnitude of each bin; 0 where nothing is known."""
        return [max(abs(low or 0.0), abs(high or 0.0)) for low, high in zip(self.low, self.high, strict=True)]


@dataclass(frozen=True)
class PassSite:
    """One place: `module`, `what` was done there or why nothing was, ranges where the pass measured them."""

    module: str
    what: str
    before: Channels | None = None
    after: Channels | None = None


@dataclass(frozen=True)
class PassRecord:
    """A pass with its options, the sites it changed and those it declined."""

    name: str
    changed: tuple[PassSite, ...]
    declined: tuple[PassSite, ...]


def write_passes(reports: Iterable[Report], folder: Path) -> None:
    """Write passes.json; a report equal to an earlier one (entries share weights) is left out.

    Raises:
        OutputError: the disk is full, no permission.
    """
    records = [_report(report) for report in reports]
    first = {_said(record): record for record in reversed(records)}
    kept = [record for record in records if first[_said(record)] is record]
    text = json.dumps({"schema": SCHEMA, "passes": kept}, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    try:
        (folder / PASSES).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise cannot_write(folder / PASSES, error) from error


def _said(record: dict[str, Any]) -> str:
    """What tells two reports apart."""
    return json.dumps([record["name"], [[site["module"], site["what"]] for site in record["changed"]],
                       [[site["module"], site["what"]] for site in record["declined"]]])  # fmt: skip


def _report(report: Report) -> dict[str, Any]:
    changed, declined = ([_site(site) for site in sites] for sites in (report.changed, report.declined))
    return {"name": report.name, "changed": changed, "declined": declined}


def _site(site: Site) -> dict[str, Any]:
    ranges = {"before": site.before, "after": site.after}
    found = {name: _channels(given) for name, given in ranges.items() if given is not None}
    return {"module": site.module, "what": site.what, **found}


def _channels(given: Range) -> dict[str, Any]:
    low, high = ([float(v) for v in tensor.flatten().tolist()] for tensor in (given.low, given.high))
    return {"channels": len(low), "low": binned(low, min), "high": binned(high, max)}


def binned(values: Sequence[float], pick: Any, most: int = MOST_BINS) -> list[float | None]:
    """At most `most` values: `pick` (min or max) of consecutive, equally many ones, to 4 significant digits."""
    count = min(len(values), most)
    edges = [i * len(values) // count for i in range(count + 1)] if count else [0]
    found = [pick(values[begin:end]) for begin, end in pairwise(edges)]
    return [float(f"{v:.{DIGITS}g}") if math.isfinite(v) else None for v in found]


def read_passes(folder: Path) -> list[PassRecord]:
    """What `write_passes` wrote, in the order the passes ran.

    Raises:
        ArtifactError: there is none (an artifact of an older edgeq), or it is damaged.
    """
    path = folder / PASSES
    if not path.is_file():
        raise ArtifactError(
            f"{folder} has no {PASSES}: it was compiled by an edgeq that did not write down what its passes did; "
            "compile it again"
        )
    try:
        body = json.loads(path.read_bytes())
        return [_record(entry) for entry in body["passes"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: cannot be read ({error}); {AGAIN}") from error


def _record(entry: dict[str, Any]) -> PassRecord:
    changed, declined = (tuple(map(_read_site, entry[side])) for side in ("changed", "declined"))
    return PassRecord(entry["name"], changed, declined)


def _read_site(entry: dict[str, Any]) -> PassSite:
    return PassSite(entry["module"], entry["what"], _read(entry.get("before")), _read(entry.get("after")))


def _read(entry: dict[str, Any] | None) -> Channels | None:
    return None if entry is None else Channels(entry["channels"], tuple(entry["low"]), tuple(entry["high"]))
