"""What `attend` is made for: sizes and options checked, where its scratch lies, its pointers."""

from __future__ import annotations

from dataclasses import dataclass

from edgeq.errors import UnsupportedError
from edgeq.kernels.naming import padded
from edgeq.kernels.vector import LANES, Memory

BLOCK = 32  # queries of a block; 16 when there are no more
CHUNK = 256  # keys whose scores are in scratch at a time: 32 KB


@dataclass(frozen=True)
class Shape:
    """One attention, as `attend.attend` describes it. Raises UnsupportedError."""

    B: int
    S: int
    L: int
    H: int
    HK: int
    D: int
    Dv: int
    ldq: int
    ldk: int
    ldv: int
    scale: float
    causal: bool
    left: int
    right: int
    softcap: float
    pad: bool
    bias: str

    def __post_init__(self) -> None:
        if self.H % self.HK:
            raise UnsupportedError(f"attend: {self.H} query heads are no multiple of {self.HK} key/value heads")
        if min(self.B, self.S, self.L, self.D, self.Dv) < 1:
            raise UnsupportedError(f"attend: an empty size in {self}")
        _ = self.full, self.grid

    @staticmethod
    def block_of(S: int) -> int:
        """Queries of a unit."""
        return LANES if S <= LANES else BLOCK

    @property
    def block(self) -> int:
        """Queries of a unit."""
        return self.block_of(self.S)

    @property
    def full(self) -> tuple[int, int] | None:
        """Examples and heads of a full bias."""
        pair = self._pair("full")
        if pair and (pair[0] not in (1, self.B) or pair[1] not in (1, self.H)):
            raise UnsupportedError(f"attend: bias {self.bias!r} for {self.B} examples of {self.H} heads")
        return pair

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of keys of a grid bias."""
        pair = self._pair("grid")
        if pair and pair[0] * pair[1] != self.L:
            raise UnsupportedError(f"attend: bias {self.bias!r} over {self.L} keys")
        return pair

    def _pair(self, kind: str) -> tuple[int, int] | None:
        name, _, sizes = self.bias.partition(":")
        numbers = sizes.split(",")
        if name not in ("", "full", "grid") or (name and (len(numbers) != 2 or not all(n.isdigit() for n in numbers))):
            raise UnsupportedError(f"attend: no bias {self.bias!r}; known: '', full:b,h and grid:KH,KW")
        return (int(numbers[0]), int(numbers[1])) if name == kind else None

    @property
    def ahead(self) -> int:
        """Positions seen ahead, -1 all."""
        return 0 if self.causal else self.right

    @property
    def windowed(self) -> bool:
        """Whether some queries see only some keys."""
        return self.ahead >= 0 or self.left >= 0

    @property
    def blind(self) -> bool:
        """Whether a query's whole window may be hidden, so that it must look at every key."""
        return self.windowed and (self.pad or self.S > self.L)

    @property
    def layout(self) -> dict[str, int]:
        """Where each part of scratch begins, in floats; `end` is its size."""
        rows = sum(self.grid or (0, 0))
        keys = CHUNK if self.L > CHUNK else padded(self.L)
        sizes = {"queries": self.D, "scores": keys, "outputs": self.Dv, "grid": rows}
        places, at = {}, 0
        for name, size in sizes.items():
            places[name], at = at, at + size * self.block
        return {**places, "limits": at, "end": at + (padded(self.L) if self.pad else 0)}


@dataclass(frozen=True)
class Buffers:
    """The pointers of the kernel."""

    q: Memory
    k: Memory
    v: Memory
    pad: Memory
    bias: Memory
    row_bias: Memory
    column_bias: Memory
    scratch: Memory
    o: Memory
