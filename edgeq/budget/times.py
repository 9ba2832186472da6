"""Seconds of a step by unit and format, and of everything that no format changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod

from edgeq.compiling.options import Options
from edgeq.compiling.prepared import Prepared
from edgeq.ir.graph import calls, hf_name, value
from edgeq.quant.format import WeightFormat
from edgeq.quant.per_linear import modules_of
from edgeq.sensitivity.result import HEAD, Sensitivity

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Times:
    """Attributes:
    seconds: (first module of a unit, format) -> seconds of its linear in one step: a token, or a run.
    rest: seconds of a step besides. source: `measured` on this machine, or `modelled` for a target that is not here.
    """

    seconds: Mapping[tuple[str, str], float] = field(default_factory=dict)
    rest: float = 0.0
    source: str = ""


def step_times(prepared: Prepared, options: Options, sensitivity: Sensitivity, progress: Progress) -> Times:
    """Time the linear of every unit in every format that it may get; equal shapes once.

    A step is one token of a model that decodes, else a run of its longest entry.
    """
    from edgeq.predict.kernel_times import Linear, kernel_seconds

    rows, act = _rows(prepared), options.bits.act
    asked: dict[tuple[str, str], Linear] = {}
    for unit in sensitivity.units:
        name, n = unit.modules[0], _head_rows(unit.kind, unit.shape[0], prepared)
        for text in unit.formats:
            fmt = WeightFormat.parse(text)
            if name in rows:
                asked[name, text] = Linear(n, unit.shape[1], text, "a16" if fmt.float_only else act, rows[name])
    found = kernel_seconds(list(asked.values()), options.target.name, progress=progress)
    seconds = {key: time.seconds for key, time in zip(asked, found, strict=True)}
    return Times(seconds, 0.0, found[0].source if found else "")


def _head_rows(kind: str, rows: int, prepared: Prepared) -> int:
    """Of a head that shares its unit with an untied embedding, only the head is multiplied."""
    vocab = getattr(prepared.source.config, "vocab_size", rows)
    return min(rows, vocab) if kind == HEAD else rows


def _rows(prepared: Prepared) -> dict[str, int]:
    """Module -> rows that it multiplies in one step."""
    found: dict[str, int] = {}
    entries = prepared.entries
    chosen = [e for e in entries if e.kind == "token"] or sorted(entries, key=lambda e: (-e.length, -e.batch))[:1]
    for entry in chosen:
        for node in calls(entry.gm, "aten.linear"):
            rows = 1 if entry.kind == "token" else prod(int(size) for size in value(node).shape[:-1])
            found |= dict.fromkeys(modules_of(hf_name(node)), rows)
    return found
