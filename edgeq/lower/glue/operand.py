"""What a glue program is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeq.kernels.kernel import Kernel


@dataclass(frozen=True)
class Operand:
    """A tensor in memory: `f32` or `i32`; rows of the last axis are `row_stride` elements apart, outer axes dense."""

    shape: tuple[int, ...]
    dtype: str
    row_stride: int


@dataclass(frozen=True)
class Step:
    """One kernel call over 0..units-1; `inputs` and `output` are indices of values."""

    kernel: Kernel
    units: int
    inputs: tuple[int, ...]
    output: int
    name: str


@dataclass(frozen=True)
class Alias:
    """Value `value` is the memory of value `source` from element `offset` on."""

    value: int
    source: int
    offset: int = 0


@dataclass(frozen=True)
class Program:
    """What a cluster does.

    `values` describes every tensor; `inputs` and `outputs` index it in the cluster's order; `constants` are dense
    tensors that belong in the weights file. Memory must be 64-byte aligned. Steps come in order; an aliased value
    needs no memory of its own.
    """

    values: tuple[Operand, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: dict[int, np.ndarray]
    steps: tuple[Step, ...]
    aliases: tuple[Alias, ...]
