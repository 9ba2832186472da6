"""A checkpoint with quantized weights under the names of the float model: values, or the codes themselves."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor

from edgeq.frontend.weights import Weights
from edgeq.imports.held import Held, NotHeldError
from edgeq.imports.packed import Packed

TABLES = ("codes", "scale", "zero", "order", "bias")
KEPT = 2  # weights whose codes stay in memory: packing asks for a weight's tables one after the other


class Raw(Weights, Protocol):
    """A checkpoint that also gives tensors in their own type."""

    def raw(self, name: str) -> Tensor:
        """The whole tensor as it is stored."""


class ImportedWeights:
    """What a quantized checkpoint holds: `X.weight` is dequantized; `X.weight_codes` and so on are its codes.

    values: reads the values of a weight where the checkpoint has a way of its own (GGUF).
    """

    def __init__(
        self, stored: Raw, packed: Iterable[Packed], values: Callable[[str, slice | None], Tensor] | None = None
    ) -> None:
        self.stored, self.values = stored, values
        self.packed = {weight.name: weight for weight in packed}
        self._parts = {part for weight in self.packed.values() for part in weight.parts.values()}
        self._recent: OrderedDict[str, Held] = OrderedDict()

    def names(self) -> list[str]:
        """Of the float model's tensors."""
        plain = [name for name in self.stored.names() if name not in self._parts and name not in self.packed]
        return [*plain, *self.packed]

    def tables(self) -> list[str]:
        """Names that give codes."""
        return [table_name(name, table) for name in self.packed for table in TABLES]

    def shape(self, name: str) -> tuple[int, ...]:
        """Of the float model's tensor."""
        return self.packed[name].shape if name in self.packed else self.stored.shape(name)

    def dtype(self, name: str) -> str:
        """How it is stored, in words where it is quantized."""
        return self.packed[name].source if name in self.packed else self.stored.dtype(name)

    def nbytes(self, name: str) -> int:
        """What a quantized weight takes in the checkpoint."""
        return self.packed[name].nbytes

    def read(self, name: str, rows: slice | None = None) -> Tensor:
        """A float tensor's values, f32, or a table in the type in which it is stored by us."""
        wanted = rows or slice(None)
        if name in self.packed:
            return self._values(name, rows)
        weight, _, table = name.rpartition("_")
        if weight in self.packed and table in TABLES:
            found = getattr(self.held(weight).stored(weight), table)
            return found.to(torch.int32) if table == "order" else found[wanted]
        return self.stored.read(name, rows)

    def held(self, name: str) -> Held:
        """The codes of a weight.

        Raises:
            ModelError: parts that contradict each other. NotHeldError: no format of ours holds it.
        """
        if name not in self._recent:
            self._recent[name] = self.packed[name].held(self.stored.raw)
            while len(self._recent) > KEPT:
                self._recent.popitem(last=False)
        return self._recent[name]

    def _values(self, name: str, rows: slice | None) -> Tensor:
        if self.values is not None:
            return self.values(name, rows)
        try:
            found = self.held(name).values()
        except NotHeldError as error:
            found = error.values
        return found[rows or slice(None)]


def table_name(weight: str, table: str) -> str:
    """`model.layers.0.mlp.up_proj.weight` -> `..._codes`."""
    return f"{weight}_{table}"
