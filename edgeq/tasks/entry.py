"""What a task knows of an entry: its tensors by name, read from the frontend's graphs or from edgeq.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

Shapes = dict[str, tuple[int, ...]]


class Session(Protocol):
    """The part of `edgeq.runtime.loader.Session` that static entries need."""

    def run(self, name: str, /, *, copy: bool = True, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Write the inputs (one not given keeps its value), run the entry, give copies of its outputs by name."""


@dataclass(frozen=True)
class EntryFacts:
    """An entry: `base` is its name without length and batch; `length` is 0 where no text goes in."""

    name: str
    base: str
    kind: str = "static"
    batch: int = 1
    length: int = 0
    inputs: Shapes = field(default_factory=dict)
    outputs: Shapes = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For edgeq.json."""
        return {
            "name": self.name,
            "base": self.base,
            "kind": self.kind,
            "batch": self.batch,
            "length": self.length,
            "inputs": {name: list(shape) for name, shape in self.inputs.items()},
            "outputs": {name: list(shape) for name, shape in self.outputs.items()},
        }


def facts(entry: Any) -> EntryFacts:
    """Facts of an `EntryGraph`, or of a dictionary with the same keys (its ports: shapes by name, or a list)."""
    get = entry.get if isinstance(entry, Mapping) else lambda key, default=None: getattr(entry, key, default)
    name = str(get("name"))
    return EntryFacts(
        name=name,
        base=str(get("base") or name),
        kind=str(get("kind") or "static"),
        batch=int(get("batch") or 1),
        length=int(get("length") or 0),
        inputs=_shapes(get("inputs") or ()),
        outputs=_shapes(get("outputs") or ()),
    )


def _shapes(ports: Mapping[str, Any] | Iterable[Any]) -> Shapes:
    if isinstance(ports, Mapping):
        return {str(name): tuple(shape) for name, shape in ports.items()}
    return dict(_port(port) for port in ports)


def _port(port: Any) -> tuple[str, tuple[int, ...]]:
    if isinstance(port, Mapping):
        return str(port["name"]), tuple(port["shape"])
    return str(port.name), tuple(port.shape)
