"""Tensors of static entries: what they are, views of their memory, and what may be written there."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeq.errors import UsageError
from edgeq.runtime.library import CTensor

if TYPE_CHECKING:
    from edgeq.runtime.facts import Entry

DTYPES = (np.dtype(np.float32), np.dtype(np.int32))  # edgeq_dtype


@dataclass(frozen=True)
class Tensor:
    """An input or output of a static entry, row-major.

    Attributes:
        name, dtype, shape: float32 or int32.
        row_stride: elements between the starts of two rows; what follows a row's `shape[-1]` values is never touched.
        limit: an int32 input takes values in `0..limit-1`; 0 is any.
        address: where it lies in the session's memory; shared tensors have one address in several entries.
    """

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    row_stride: int
    limit: int
    address: int

    @property
    def key(self) -> tuple[str, int]:
        """Equal for one tensor under the entries that share it."""
        return self.name, self.address

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}{list(self.shape)}"

    def view(self) -> np.ndarray:
        """The values where they lie, writable; valid until the session is closed."""
        rows = math.prod(self.shape[:-1])
        width = self.shape[-1] if self.shape else 1
        size = self.dtype.itemsize * ((rows - 1) * self.row_stride + width)
        memory = memoryview((ctypes.c_uint8 * size).from_address(self.address))
        return np.ndarray(self.shape, self.dtype, memory, strides=self._strides())

    def _strides(self) -> tuple[int, ...]:
        strides, step = [], self.row_stride
        for size in reversed(self.shape[:-1]):
            strides.append(step * self.dtype.itemsize)
            step *= size
        return (*reversed(strides), self.dtype.itemsize) if self.shape else ()

    def check(self, entry: str, value: Any) -> None:
        """Raise UsageError unless `value` is an array of exactly this type and shape."""
        if not isinstance(value, np.ndarray):
            raise UsageError(f"{entry}: input {self} takes a numpy array, not {type(value).__name__}")
        if value.dtype != self.dtype:
            raise UsageError(
                f"{entry}: input {self} was given {value.dtype}: convert it with .astype(np.{self.dtype.name})"
            )
        if value.shape != self.shape:
            raise UsageError(f"{entry}: input {self} was given shape {list(value.shape)}; shapes are fixed")


def from_c(tensor: CTensor) -> Tensor:
    """What `edgeq_tensor_info` filled in."""
    shape = tuple(tensor.shape[: tensor.rank])
    address = tensor.data or 0
    return Tensor(tensor.name.decode(), DTYPES[tensor.dtype], shape, tensor.row_stride, tensor.limit, address)


def check_inputs(entry: str, tensors: Sequence[Tensor], given: Mapping[str, Any]) -> None:
    """Raise UsageError when a name is not an input's, or a value is not of its input's type and shape."""
    unknown = sorted(given.keys() - {tensor.name for tensor in tensors})
    if unknown:
        takes = ", ".join(map(str, tensors)) or "no inputs"
        raise UsageError(f"{entry} has no input {', '.join(unknown)}; it takes {takes}")
    for tensor in tensors:
        if tensor.name in given:
            tensor.check(entry, given[tensor.name])


def check_missing(
    entry: Entry, entries: Sequence[Entry], given: Iterable[str], written: Collection[tuple[str, int]]
) -> None:
    """Raise UsageError when an input is neither given nor, by its key, among those `written` before."""
    missing = [tensor for tensor in entry.inputs if tensor.name not in given and tensor.key not in written]
    if missing:
        raise UsageError(f"{entry.name} needs {', '.join(_with_maker(tensor, entries) for tensor in missing)}")


def _with_maker(tensor: Tensor, entries: Sequence[Entry]) -> str:
    names = [entry.name for entry in entries if tensor.key in {output.key for output in entry.outputs}]
    return f"{tensor} (computed by {' or '.join(names)}: run it first)" if names else str(tensor)
