"""Tensors as a kernel sees them: a shape, where rows lie, and the memory behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from edgeq.kernels.vector import LANES, Memory, Stack
from edgeq.lower.glue.space import const

Expr = Any


def padded(width: int) -> int:
    """The next multiple of 16."""
    return -(-width // LANES) * LANES


@dataclass(frozen=True)
class Layout:
    """Shape and element type as stored (`f32`, `i32`); rows of the last axis are `row_stride` elements apart.

    The first `skip` axes have no extent in this memory: it holds one slice of them at a time.
    """

    shape: tuple[int, ...]
    dtype: str
    row_stride: int
    skip: int = 0

    @property
    def width(self) -> int:
        """Length of the last axis; 1 of a tensor without axes."""
        return self.shape[-1] if len(self.shape) > self.skip else 1

    @property
    def elements(self) -> int:
        """Elements of memory from the first row to the end of the last."""
        return prod(self.shape[self.skip : -1] or (1,)) * self.row_stride if self.width else 0

    def flat(self, indices: Sequence[Expr]) -> Expr:
        """Where an element lies, in elements."""
        step, total = 1, const(0)
        for axis in range(len(self.shape) - 1, self.skip - 1, -1):
            total = total + indices[axis] * const(step)
            step = self.row_stride if axis == len(self.shape) - 1 else step * self.shape[axis]
        return total


def layout_of(shape: tuple[int, ...], dtype: str, leaves: bool = False) -> Layout:
    """Where a new value lies: rows padded to 16, except short rows that stay inside the cluster."""
    width = shape[-1] if shape else 1
    stride = padded(width) if leaves or width >= LANES else width
    return Layout(shape, "f32" if dtype.startswith("float") else "i32", stride)


@dataclass(frozen=True)
class Slot:
    """A layout bound to a kernel parameter or to a stack array."""

    layout: Layout
    memory: Memory | Stack
