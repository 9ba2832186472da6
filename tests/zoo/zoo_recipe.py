"""What the zoo knows of a model: how it is made, its files, what to run and what must come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Run:
    """One run of an entry: inputs by name, and eager's answers by name (more than the entry need have).

    tokens, logits: of an encoder-decoder, tokens to feed to `decode` afterwards and f32[T, vocab] after each.
    """

    entry: str
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    tokens: tuple[int, ...] = ()
    logits: np.ndarray | None = None


@dataclass(frozen=True)
class Recipe:
    """A tiny model. `lengths` and `batches` are what it is compiled for; `files` lie beside config.json."""

    config: Callable[[], Any]
    cls: str
    runs: Callable[[nn.Module, int], list[Run]]
    main: tuple[str, ...]  # outputs that some entry must have
    lengths: tuple[int, ...] = ()
    batches: tuple[int, ...] = (1, 3)
    files: Mapping[str, Any] = field(default_factory=dict)

    def model_class(self) -> Any:
        return getattr(transformers, self.cls)


def config(cls: str, **options: Any) -> Callable[[], Any]:
    """A function that makes a transformers config."""
    return lambda: getattr(transformers, cls)(**options)


def entry_name(base: str, length: int | None = None, batch: int = 1) -> str:
    """`text_24x3` and the like, see docs/entries.md."""
    return base + (f"_{length}" if length else "") + (f"x{batch}" if batch > 1 else "")


def run(entry: str, inputs: Tensors, outputs: Mapping[str, Any]) -> Run:
    """A `Run` from torch tensors; integers and booleans become int32, outputs that are no tensor are left out."""
    tensors = {name: value for name, value in outputs.items() if isinstance(value, torch.Tensor)}
    return Run(entry, arrays(inputs), arrays(tensors))


def arrays(tensors: Tensors) -> dict[str, np.ndarray]:
    return {name: to_numpy(value) for name, value in tensors.items()}


def to_numpy(value: torch.Tensor) -> np.ndarray:
    return value.detach().numpy().astype(np.float32 if value.is_floating_point() else np.int32)


def random(*shape: int, seed: int = 5) -> torch.Tensor:
    """f32, standard normal."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
