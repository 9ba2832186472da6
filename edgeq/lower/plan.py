"""The plan: regions of kernel calls, in order, with where each argument comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edgeq.kernels.kernel import Kernel
from edgeq.lower.values import Buffer, View
from edgeq.targets import Isa, Target


@dataclass(frozen=True)
class Weight:
    """A tensor of the weights file, by name."""

    name: str


@dataclass(frozen=True)
class Literal:
    """A C expression: `m`, `pos`, `ids`, `1`, or `0` for an unused pointer."""

    text: str


@dataclass(frozen=True)
class Offset:
    """`bytes` into a buffer."""

    buffer: Buffer
    bytes: int


@dataclass(frozen=True)
class Loaded:
    """The int32 that a buffer holds at run time, plus a constant; what wrote it ran in another entry."""

    buffer: Buffer
    plus: int


NULL = Literal("0")
M, POS, IDS, ONE = Literal("m"), Literal("pos"), Literal("s->ids"), Literal("1")
Arg = View | Buffer | Offset | Weight | Literal | Loaded


@dataclass(frozen=True)
class Split:
    """How threads share a call's units.

    `kind`: `private` every thread does all of it; `units` a thread takes its share of `units`, each `scale` wide;
    `blocks` of 16 rows; `rows` the rows of those blocks; `head_blocks` units x blocks. `count` is the number of rows, 0
    where it is known at run time. Calls with the same `share` give every thread the same piece of a tensor, so that one
    may read what the other wrote without a barrier ("": none).
    """

    kind: str
    units: int = 1
    scale: int = 1
    share: str = ""
    count: int = 0


@dataclass(frozen=True)
class Tensor:
    """An input or output of a static entry: a view of memory that lives as long as the context.

    `limit`: integers must be below it, 0 for no limit.
    """

    name: str
    shape: tuple[int, ...]
    view: View
    limit: int = 0


PRIVATE = Split("private")
ROWS, BLOCKS = Split("rows", share="rows"), Split("blocks", share="rows")


@dataclass(frozen=True)
class Call:
    """One kernel call; `reads` and `writes` are what it touches in the arena or in private memory."""

    kernel: Kernel
    args: tuple[Arg, ...]
    split: Split
    reads: tuple[Buffer, ...]
    writes: tuple[Buffer, ...]


@dataclass
class Region:
    """Calls between two barriers, with the Hugging Face modules they come from."""

    calls: list[Call] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """Family of the kernel that dominates: the one with most weight bytes, else the last."""
        top = max(self.calls, key=lambda c: c.kernel.weight_bytes)
        return (top if top.kernel.weight_bytes else self.calls[-1]).kernel.name.split("_")[0]

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights file read by one run of the region."""
        return sum(c.kernel.weight_bytes for c in self.calls)

    @property
    def ops(self) -> int:
        """Multiply-adds for one row."""
        return sum(c.kernel.ops for c in self.calls)


@dataclass
class Entry:
    """One way to run the model.

    A token entry takes up to `max_rows` tokens. A static one (`max_rows` 0) has tensors for `inputs` and `outputs`.
    `after_run`: it reads what a static entry leaves in the context. `facts`: what the manifest says besides.
    """

    name: str
    max_rows: int
    regions: list[Region]
    buffers: list[Buffer]
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    after_run: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Plan:
    """Entries over one arena and one weights file; without token entries `vocab` and `context` are 0.

    `ring`: newest positions that caches of codes keep in float, 0 where caches keep all positions alike.
    """

    entries: list[Entry]
    arena_bytes: int
    private_bytes: int
    vocab: int
    context: int
    logits: Buffer | None
    best: Buffer | None
    caches: list[Buffer]
    ring: int = 0

    def kernels(self) -> dict[str, Kernel]:
        """Every kernel of the plan by name, in order of first use."""
        calls = (c for e in self.entries for r in e.regions for c in r.calls)
        return {c.kernel.name: c.kernel for c in calls}

    def variants(self, target: Target) -> tuple[Isa, ...]:
        """The instruction-set variants that an artifact of this plan carries."""
        return target.variants(kernel.family for kernel in self.kernels().values())
