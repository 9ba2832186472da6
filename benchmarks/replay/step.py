"""One run of a region as its calls see it: memory, run-time numbers, and each argument as an array."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgeq.lower.plan import Arg, Call, Literal, Offset, Weight
from edgeq.lower.values import ROW_BLOCK, Buffer, View
from edgeq.targets import Isa
from replay.memory import Memory


@dataclass(frozen=True)
class Step:
    """What a region is run with.

    tokens: ids of the m rows. position: of the first row. isa: the variant that runs. weights: tensor bytes as mapped.
    offsets: where each tensor starts in them. thread, threads: whose share of the units is looked at.
    """

    tokens: np.ndarray
    position: int
    isa: Isa
    weights: np.ndarray
    offsets: Mapping[str, int]
    thread: int = 0
    threads: int = 1

    def of(self, thread: int, threads: int) -> Step:
        """The same as seen by another thread."""
        return replace(self, thread=thread, threads=threads)


class Arguments:
    """The arguments of one call, read from `memory` by parameter name."""

    def __init__(self, call: Call, step: Step, memory: Memory) -> None:
        self.call, self.step, self.memory = call, step, memory
        self.options: Mapping[str, Any] = call.kernel.options
        self._args = {p.name: a for p, a in zip(call.kernel.params, call.args, strict=True)}

    @property
    def names(self) -> frozenset[str]:
        """Parameter names."""
        return frozenset(self._args)

    @property
    def rows(self) -> int:
        """Valid rows: the kernel's `m`, 1 when it takes none."""
        return self.scalar("m") if "m" in self._args else 1

    def scalar(self, name: str) -> int:
        """An int32 parameter."""
        arg = self._args[name]
        assert isinstance(arg, Literal), (name, arg)
        known = {"m": len(self.step.tokens), "pos": self.step.position}
        return known[arg.text] if arg.text in known else int(arg.text)

    def given(self, name: str) -> bool:
        """Whether a pointer is not null."""
        return self._args[name] != Literal("0")

    def read(self, name: str, dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
        """The array that a pointer parameter points at: a view of `shape`."""
        arg, count = self._args[name], int(np.prod(shape)) * np.dtype(dtype).itemsize
        if arg == Literal("s->ids"):
            return self.step.tokens.astype(dtype)[: shape[0]]
        space, start = self.address(arg)
        assert start + count <= len(space), f"{self.call.kernel.name}: {name} leaves its memory"
        return space[start : start + count].view(dtype).reshape(shape)

    def optional(self, name: str, dtype: Any, shape: tuple[int, ...]) -> np.ndarray | None:
        """`read`, or None for a null pointer."""
        return self.read(name, dtype, shape) if self.given(name) else None

    def argument(self, name: str) -> Arg:
        """The plan's argument."""
        return self._args[name]

    def address(self, arg: Arg) -> tuple[np.ndarray, int]:
        """(memory, first byte) of a pointer, as the generated C computes it."""
        if isinstance(arg, Weight):
            return self.step.weights, self.step.offsets[arg.name]
        if isinstance(arg, Offset):
            return self._space(arg.buffer), arg.buffer.offset + arg.bytes
        if isinstance(arg, Buffer):
            return self._space(arg), arg.offset
        assert isinstance(arg, View), arg
        last = (len(self.step.tokens) - 1) * arg.buffer.row_bytes if arg.last else 0
        return self._space(arg.buffer), arg.buffer.offset + 4 * arg.column + last

    def _space(self, buffer: Buffer) -> np.ndarray:
        return self.memory.private if buffer.private else self.memory.arena

    def units(self) -> tuple[int, int]:
        """This thread's [lo, hi) of a call split in units."""
        split, step = self.call.split, self.step
        assert split.kind == "units", split
        lo, hi = (split.units * t // step.threads * split.scale for t in (step.thread, step.thread + 1))
        return lo, hi

    @property
    def padded_rows(self) -> int:
        """Rows up to the end of the last block of 16."""
        return -(-self.rows // ROW_BLOCK) * ROW_BLOCK
