"""Where the bytes are: tensors grouped into components, before and after compression."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of the weights file.

    Attributes:
        name: in the file. sources: the Hugging Face tensors that it is made of, () when edgeq computed it.
        format: `w4g32`, `f32`, ... shape: as the model sees it, before padding and packing.
        offset: bytes after the file's header. bytes: size in the file.
        source_bytes: what its weights take in the checkpoint, 0 when computed.
    """

    name: str
    sources: tuple[str, ...]
    format: str
    shape: tuple[int, ...]
    offset: int
    bytes: int
    source_bytes: int

    @property
    def weights(self) -> int:
        """Number of weights."""
        return prod(self.shape)


@dataclass(frozen=True)
class Component:
    """Tensors whose names differ only in layer numbers. Sizes in bytes; bits_per_weight counts scales and padding."""

    name: str
    format: str
    tensors: int
    weights: int
    bytes_before: int
    bytes: int
    bits_per_weight: float


def components(tensors: Iterable[StoredTensor]) -> list[Component]:
    """Group by name with its numbers replaced by `*`, and by format; in order of first appearance, then the total."""
    groups: dict[tuple[str, str], list[StoredTensor]] = {}
    for tensor in tensors:
        name = re.sub(r"(?<![^.])\d+(?![^.])", "*", re.sub(r"#\d+$", "", tensor.name))
        groups.setdefault((name, tensor.format), []).append(tensor)
    rows = [_component(name, fmt, group) for (name, fmt), group in groups.items()]
    return [*rows, _component("total", "", [tensor for group in groups.values() for tensor in group])]


def _component(name: str, fmt: str, group: list[StoredTensor]) -> Component:
    weights, stored = sum(t.weights for t in group), sum(t.bytes for t in group)
    bits = stored * 8 / weights if weights else 0.0
    return Component(name, fmt, len(group), weights, sum(t.source_bytes for t in group), stored, round(bits, 4))
