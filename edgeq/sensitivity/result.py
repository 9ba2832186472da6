"""What a measurement of sensitivity found: for every unit of a model and every candidate format, damage and bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeq.errors import UsageError

LINEAR, HEAD = KINDS = ("linear", "head")
NATS, RELATIVE = UNITS = ("nats a token", "relative error")


@dataclass(frozen=True)
class Candidate:
    """A unit in one format.

    Attributes:
        damage: what the whole model's outputs suffer when only this unit is quantized, in `Sensitivity.unit`.
        bytes: of the unit's packed weights, padding rows, scales and zero points included.
    """

    damage: float
    bytes: int


@dataclass(frozen=True)
class Unit:
    """What gets one format: linears that are merged (q, k, v; gate, up), a linear alone, or head and embedding.

    Attributes:
        modules: Hugging Face names of its linears, of a head also the embedding's.
        shape: (rows N, columns K) of its stacked weight; tables of an untied head and embedding are both counted in N.
        formats: by weight format (`w4g128a`, `w8`, `f16`).
        kind: `linear` or `head`.
    """

    modules: tuple[str, ...]
    shape: tuple[int, int]
    formats: Mapping[str, Candidate]
    kind: str = LINEAR

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.shape[0] * self.shape[1]


@dataclass(frozen=True)
class Sensitivity:
    """Damages of one model.

    Attributes:
        model: as the user gave it. method: `kl`, `fisher` or `output`. unit: what damages are measured in.
        tokens: positions that were measured. units: in the order in which the model computes them.
        act: activations of the candidates, `a8` or `a16`: damages include theirs.
    """

    model: str
    method: str
    unit: str
    tokens: int
    units: tuple[Unit, ...]
    act: str = "a8"
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `from_json` reads it back."""
        return {
            "model": self.model,
            "method": self.method,
            "unit": self.unit,
            "tokens": self.tokens,
            "act": self.act,
            "units": [_unit_json(unit) for unit in self.units],
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Sensitivity:
        """What `to_json` gave; UsageError says what is missing or is no damage."""
        try:
            units = tuple(_unit(one) for one in found["units"])
            head = {name: str(found[name]) for name in ("model", "method", "unit")}
            tokens, act, notes = int(found["tokens"]), str(found.get("act", "a8")), tuple(found.get("notes", ()))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"not the JSON of edgeq sensitivity: {type(error).__name__}: {error}") from error
        return cls(**head, tokens=tokens, units=units, act=act, notes=notes)


def _unit_json(unit: Unit) -> dict[str, Any]:
    formats = {name: {"damage": one.damage, "bytes": one.bytes} for name, one in unit.formats.items()}
    return {"modules": list(unit.modules), "kind": unit.kind, "shape": list(unit.shape), "formats": formats}


def _unit(found: Mapping[str, Any]) -> Unit:
    rows, columns = map(int, found["shape"])
    listed = found["formats"].items()
    formats = {str(name): Candidate(_damage(one["damage"]), int(one["bytes"])) for name, one in listed}
    kind = str(found.get("kind", LINEAR))
    if kind not in KINDS:
        raise ValueError(f"a unit of kind {kind!r}; known: {', '.join(KINDS)}")
    return Unit(tuple(map(str, found["modules"])), (rows, columns), formats, kind)


def _damage(found: object) -> float:
    """Infinity is written as null (JSON has none): a format that breaks the model."""
    return math.inf if found is None else float(found)  # type: ignore[arg-type]
