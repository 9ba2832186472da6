"""The state of lowering one entry: where each value lives, the calls so far, the buffers they need."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import fx

from edgeq.errors import UnsupportedError
from edgeq.ir.graph import hf_name as module
from edgeq.ir.graph import op
from edgeq.kernels.kernel import Kernel
from edgeq.kernels.kv_blocks import BITS, ring_length
from edgeq.lower.plan import BLOCKS, ONE, PRIVATE, ROWS, Arg, Call, Literal, M, Offset, Split
from edgeq.lower.regions import RegionBuilder
from edgeq.lower.values import ROW_BLOCK, Buffer, View
from edgeq.lower.weights import WeightTable, padded

ACCESS_READS, ACCESS_WRITES = ("in", "inout", "scratch"), ("out", "inout", "scratch")


@dataclass
class Scope:
    """One entry being lowered; `env` maps nodes to values (or deferred nodes).

    `rows`: the largest number of rows of a token entry, 0 in a static entry, whose tensors have rows of their own.
    `places`: linears whose result is some columns of a tensor that is there already. `chunk`: most rows of any entry
    over the same caches.
    """

    rows: int
    context: int
    table: WeightTable
    logits: Buffer | None
    builder: RegionBuilder = field(default_factory=RegionBuilder)
    env: dict[fx.Node, Any] = field(default_factory=dict)
    done: set[fx.Node] = field(default_factory=set)
    quantized: dict[tuple[Any, ...], tuple[Buffer, ...]] = field(default_factory=dict)
    buffers: list[Buffer] = field(default_factory=list)
    caches: dict[str, Buffer] = field(default_factory=dict)
    state: dict[str, Buffer] = field(default_factory=dict)
    sites: dict[fx.Node, Any] = field(default_factory=dict)
    places: dict[fx.Node, View] = field(default_factory=dict)
    chunk: int = 1

    def ring(self, kv: str) -> int:
        """Positions that a cache by blocks keeps in float, 0 for other caches."""
        return ring_length(self.chunk, self.context) if kv in BITS else 0

    def buffer(self, name: str, row_bytes: int, rows: int, private: bool = False) -> Buffer:
        """A new buffer with room for whole blocks of rows."""
        whole = rows if rows == 1 else -(-rows // ROW_BLOCK) * ROW_BLOCK
        b = Buffer(f"{name}.{len(self.buffers)}", row_bytes, whole, private)
        self.buffers.append(b)
        return b

    def tensor(self, name: str, width: int, rows: int, private: bool = False) -> View:
        """A new float32 tensor [rows, width]; its row stride is padded to 16 floats."""
        return View(self.buffer(name, 4 * padded(width), rows, private), width, rows)

    def call(self, kernel: Kernel, args: tuple[Arg, ...], split: Split, node: fx.Node) -> None:
        """Append a call; what it reads and writes follows from the kernel's parameters."""
        assert len(args) == len(kernel.params), (kernel.name, len(args), [p.name for p in kernel.params])
        memory = [(p.access, b) for p, a in zip(kernel.params, args, strict=True) if (b := _memory(a)) is not None]
        reads = tuple(a for access, a in memory if access in ACCESS_READS)
        writes = tuple(a for access, a in memory if access in ACCESS_WRITES)
        self.builder.add(Call(kernel, args, split, reads, writes), module(node))

    def row_call(self, kernel: Kernel, inputs: tuple[Arg, ...], node: fx.Node, width: int, rows: int) -> View:
        """A row-wise kernel (m, inputs..., o): split by rows, or done by every thread for itself where there is one."""
        out = self.tensor(kernel.name.split("_")[0], width, rows, private=self.repeated(rows))
        self.call(kernel, (self.count(rows), *inputs, out), self.by_rows(rows), node)
        return out

    @property
    def static(self) -> bool:
        """Whether every number of rows is known now."""
        return not self.rows

    def repeated(self, rows: int) -> bool:
        """Whether work on this many rows is done by every thread for itself, in private memory."""
        return rows == 1 and not self.static

    def count(self, rows: int) -> Literal:
        """The number of rows as a kernel argument."""
        return Literal(str(rows)) if self.static else ONE if rows == 1 else M

    def by_rows(self, rows: int) -> Split:
        """How threads share rows."""
        if self.static:
            return Split("rows", share=f"rows{rows}", count=rows)
        return PRIVATE if rows == 1 else ROWS

    def by_blocks(self, rows: int) -> Split:
        """How threads share blocks of 16 rows."""
        return Split("blocks", share=f"rows{rows}", count=rows) if self.static else BLOCKS

    def view(self, node: fx.Node) -> View:
        """The view of an activation; raises UnsupportedError when the node is not one."""
        value = self.env.get(node)
        if not isinstance(value, View):
            raise UnsupportedError(f"{module(node) or node.name}: {op(node)} cannot be used as an activation here")
        return value


def _memory(arg: Arg) -> Buffer | None:
    """The buffer that an argument points into."""
    return arg.buffer if isinstance(arg, (View, Offset)) else arg if isinstance(arg, Buffer) else None
