"""Weights that a checkpoint holds in parts: which tensors they are made of, and how those are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from torch import Tensor

from edgeq.errors import ModelError, UsageError
from edgeq.imports.held import Held

Parts = dict[str, Tensor]


@dataclass(frozen=True)
class Packed:
    """One weight `[N, K]` of a checkpoint.

    Attributes:
        name: the weight's, as the model knows it. shape: N, K.
        source: how it is stored, in words: `GPTQ int4, groups of 128`.
        parts: what the reader calls its tensors -> their names in the checkpoint.
        read: parts -> codes; NotHeldError where no format of ours holds them.
        nbytes: of all parts.
    """

    name: str
    shape: tuple[int, int]
    source: str
    parts: dict[str, str]
    read: Callable[[Parts], Held]
    nbytes: int

    def held(self, load: Callable[[str], Tensor]) -> Held:
        """The codes, checked for shape and range; `load` gives a tensor by name, in its own type.

        Raises:
            ModelError: parts that contradict each other. NotHeldError: see `read`.
        """
        try:
            found = self.read({short: load(stored) for short, stored in self.parts.items()})
        except ModelError as error:
            raise ModelError(f"{self.name} ({self.source}): {error}") from error
        except (UsageError, MemoryError):
            raise
        except (RuntimeError, IndexError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{self.name} ({self.source}): its parts do not fit together: {error}") from error
        self._check(found)
        return found

    def _check(self, found: Held) -> None:
        rows, columns = self.shape
        groups = found.fmt.groups(columns) * found.fmt.meaning.numbers
        zero = (rows, groups)
        if tuple(found.codes.shape) != self.shape or tuple(found.scale.shape) != (rows, groups):
            sizes = f"{list(found.codes.shape)} codes and {list(found.scale.shape)} scales"
            raise ModelError(f"{self.name} ({self.source}): {sizes} for a weight {list(self.shape)}")
        if found.zero is not None and tuple(found.zero.shape) != zero:
            sizes = f"zero points {list(found.zero.shape)}, expected {list(zero)}"
            raise ModelError(f"{self.name} ({self.source}): {sizes}")
        if found.fmt.bits < 8 and int(found.codes.max()) >= found.fmt.codes:
            raise ModelError(f"{self.name} ({self.source}): codes up to {int(found.codes.max())}; {found.fmt} has "
                             f"{found.fmt.codes}")  # fmt: skip


def stored_bytes(shapes: dict[str, tuple[int, ...]], sizes: dict[str, int]) -> int:
    """Bytes of tensors by shape and bytes an element."""
    return sum(prod(shape) * sizes[name] for name, shape in shapes.items())
