"""Weights by Hugging Face tensor name, read lazily, always handed out as float32."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor

from edgeq.errors import ModelError
from edgeq.frontend.expression import evaluate
from edgeq.frontend.skeleton import stored_tensors

__all__ = ["NamedWeights", "Weights", "evaluate"]


class Weights(Protocol):
    """Named tensors in a checkpoint; nothing is in memory until `read`."""

    def names(self) -> list[str]:
        """Names of all tensors."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape, from the header alone."""

    def dtype(self, name: str) -> str:
        """How it is stored: a safetensors dtype (`BF16`) or a GGUF type (`Q4_1`)."""

    def read(self, name: str, rows: slice | None = None) -> Tensor:
        """The tensor, or a range of its first axis; floating point as float32."""


class NamedWeights:
    """A checkpoint under the names that the model uses.

    aliases: model name -> stored name, where they differ (tied tensors, a missing or additional base prefix).
    computed: what the checkpoint leaves out because the model computes it (biases of zeros).
    tables: names under which a quantized checkpoint gives codes (`edgeq/imports`), beside those of tensors.
    """

    def __init__(self, stored: Weights, aliases: dict[str, str] | None = None, tables: Iterable[str] = ()) -> None:
        self.stored = stored
        self.aliases = dict(aliases or {})
        self.computed: dict[str, Tensor] = {}
        self._known = set(stored.names())
        self._tables = set(tables)

    def names(self) -> list[str]:
        """Stored names, then aliases."""
        return [*self.stored.names(), *(a for a in self.aliases if a not in self._known), *self.computed]

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape, from the header alone."""
        if name in self.computed:
            return tuple(self.computed[name].shape)
        return self.stored.shape(self.stored_name(name))

    def dtype(self, name: str) -> str:
        """How it is stored."""
        if name in self.computed:
            return "F32"
        return self.stored.dtype(self.stored_name(name))

    def packed_bytes(self, name: str) -> float:
        """Bytes a weight of a tensor that the checkpoint holds quantized, scales included; 0 of any other."""
        name = self.aliases.get(name, name)
        packed = getattr(self.stored, "packed", {}).get(name)
        return packed.nbytes / (packed.shape[0] * packed.shape[1]) if packed else 0.0

    def read(self, name: str, rows: slice | None = None) -> Tensor:
        """The tensor, or a range of its first axis; floating point as float32."""
        if name in self.computed:
            return self.computed[name].float()[rows or slice(None)]
        return self.stored.read(self.stored_name(name), rows)

    def __contains__(self, name: str) -> bool:
        return name in self._known or name in self.aliases or name in self.computed

    def stored_name(self, name: str) -> str:
        """The checkpoint's name of a tensor; a name that is computed, or a table's, is its own."""
        found = self.aliases.get(name, name)
        if found not in self._known and found not in self._tables and found not in self.computed:
            raise ModelError(f"the checkpoint has no tensor {name!r}")
        return found


def bind(weights: NamedWeights, model: torch.nn.Module, where: str) -> None:
    """Find every tensor of `model` in the checkpoint, filling `weights.aliases`; all faults in one message.

    Raises:
        ModelError: tensors that are missing or have another shape than the model's.
    """
    groups: dict[int, list[str]] = {}
    stored = stored_tensors(model)
    for name, tensor in stored.items():
        groups.setdefault(id(tensor), []).append(name)
    prefix, renamed = getattr(model, "base_model_prefix", ""), _renamed(weights, model)
    problems = []
    for names in groups.values():
        found = next((s for n in names for s in _spellings(n, prefix, renamed) if s in weights._known), None)
        want = tuple(stored[names[0]].shape)
        if found is None and _is_optional(model, names[0]):
            weights.computed.update(dict.fromkeys(names, stored[names[0]]))
        elif found is None:
            problems.append(f"{names[0]} is missing")
        elif weights.stored.shape(found) != want:
            problems.append(f"{found} has shape {list(weights.stored.shape(found))}, the model needs {list(want)}")
        else:
            weights.aliases.update({n: found for n in names if n != found})
    if problems:
        raise ModelError(f"{where} does not hold the weights of {type(model).__name__}: {_first(problems)}")


def _is_optional(model: torch.nn.Module, name: str) -> bool:
    """Whether a tensor may be missing: a buffer of which the class says that its computed value stands in for it."""
    patterns = getattr(model, "_keys_to_ignore_on_load_missing", None) or []
    return name in dict(model.named_buffers()) and any(re.search(pattern, name) for pattern in patterns)


def _renamed(weights: NamedWeights, model: torch.nn.Module) -> dict[str, str]:
    """Name today -> stored name, of tensors that transformers renamed since checkpoints were written."""
    from transformers.conversion_mapping import WeightRenaming, get_model_conversion_mapping
    from transformers.core_model_loading import rename_source_key

    rules = [r for r in get_model_conversion_mapping(model) if isinstance(r, WeightRenaming)]  # type: ignore[arg-type]
    pairs = ((rename_source_key(name, rules, [])[0], name) for name in weights.stored.names())
    return {new: old for new, old in pairs if new != old}


def _spellings(name: str, prefix: str, renamed: dict[str, str]) -> Iterable[str]:
    """A checkpoint of the bare base model lacks the base prefix; some have it where the model does not."""
    other = name[len(prefix) + 1 :] if name.startswith(prefix + ".") else f"{prefix}.{name}"
    for spelling in (name, other) if prefix else (name,):
        yield spelling
        if spelling in renamed:
            yield renamed[spelling]


def _first(problems: list[str], most: int = 6) -> str:
    rest = f"; and {len(problems) - most} more" if len(problems) > most else ""
    return "; ".join(problems[:most]) + rest
