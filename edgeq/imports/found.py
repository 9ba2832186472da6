"""What a safetensors checkpoint holds, by module: where schemes look for the parts of weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import nn

from edgeq.errors import ModelError
from edgeq.frontend.safetensors_file import DTYPES, SafetensorsWeights
from edgeq.imports.packed import Packed


@dataclass(frozen=True)
class Found:
    """A checkpoint's tensors, and the model that they are of."""

    stored: SafetensorsWeights
    model: nn.Module

    def modules(self, part: str) -> Iterator[str]:
        """Modules that have a tensor of this name, in the checkpoint's order."""
        end = f".{part}"
        return (name.removesuffix(end) for name in self.stored.names() if name.endswith(end))

    def linears(self) -> Iterator[str]:
        """Modules of the checkpoint with a float weight that are linears of the model (its base prefix may differ)."""
        prefix = f"{getattr(self.model, 'base_model_prefix', '')}."
        named = self.model.named_modules()
        wanted = {name.removeprefix(prefix) for name, module in named if isinstance(module, nn.Linear)}
        for module in self.modules("weight"):
            if module.removeprefix(prefix) in wanted:
                yield module

    def model_shape(self, module: str) -> tuple[int, int]:
        """Of the float model's weight."""
        prefix = getattr(self.model, "base_model_prefix", "")
        named = dict(self.model.named_parameters(remove_duplicate=False))
        for name in (module, f"{prefix}.{module}", module.removeprefix(f"{prefix}.")):
            weight = named.get(f"{name}.weight")
            if weight is not None and weight.dim() == 2:
                return int(weight.shape[0]), int(weight.shape[1])
        raise ModelError(f"the checkpoint holds {module}.weight, which the model does not have")

    def shape(self, name: str) -> tuple[int, int]:
        """Of a matrix; ModelError where it is none or is not there."""
        shape = self.stored.shape(name)
        if len(shape) != 2:
            raise ModelError(f"{name} has shape {list(shape)}; expected a matrix")
        return shape[0], shape[1]

    def parts(self, module: str, *names: str, **renamed: str) -> dict[str, str]:
        """What a reader calls tensors -> their names, of those that are there."""
        wanted = {name: name for name in names} | renamed
        known = self.stored.entries
        return {ours: f"{module}.{theirs}" for ours, theirs in wanted.items() if f"{module}.{theirs}" in known}

    def packed(
        self, module: str, shape: tuple[int, int], source: str, parts: dict[str, str], read: Callable[[Any], Any]
    ) -> Packed:
        """The weight of a module."""
        entries = [self.stored.entries[part] for part in parts.values()]
        size = sum(prod(entry.shape) * DTYPES[entry.dtype].itemsize for entry in entries)
        return Packed(f"{module}.weight", shape, source, parts, read, size)
