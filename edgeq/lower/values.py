"""Where a tensor of an entry lives: buffers in the arena or in a thread's private memory, and views of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

ROW_BLOCK = 16  # rows of a chunk are padded to this, so that row blocks never leave their buffer


@dataclass(eq=False)
class Buffer:
    """`rows` rows of `row_bytes`; `private` buffers exist once a thread. Lifetimes are region numbers, inclusive."""

    name: str
    row_bytes: int
    rows: int
    private: bool = False
    pinned: bool = False
    first: int = -1
    last: int = -1
    offset: int = field(default=-1)

    @property
    def bytes(self) -> int:
        """Size, rounded up to two cache lines so that neighbours never share one."""
        return -(-self.row_bytes * self.rows // 128) * 128


@dataclass(frozen=True)
class View:
    """`width` columns of a buffer from column `column`.

    `rows`: of a static entry's tensor (product of its outer axes), or 1 or the entry's largest number of rows where
    they are counted at run time.

    `first` rows are skipped. `last` selects row m-1: the only valid row's position is known at run time. `stride` is
    the row stride in elements where it differs from the buffer's (a reshape of a tensor without pad lanes). `dtype` is
    `f32` or `i32`.
    """

    buffer: Buffer
    width: int
    rows: int
    column: int = 0
    last: bool = False
    stride: int = 0
    dtype: str = "f32"
    first: int = 0

    @property
    def ld(self) -> int:
        """Row stride in elements."""
        return self.stride or self.buffer.row_bytes // 4

    @property
    def start(self) -> int:
        """Bytes from the buffer's start to the first element."""
        return 4 * (self.first * self.ld + self.column)

    def columns(self, start: int, stop: int) -> View:
        """Columns start..stop of this view."""
        return replace(self, column=self.column + start, width=stop - start)

    def last_row(self) -> View:
        """The row m-1 as a view of one row; a view of one row is itself."""
        return self if self.rows == 1 else replace(self, rows=1, last=True)


@dataclass(frozen=True)
class Positions:
    """The position of each row plus a constant: `pos + row + offset` (OPT counts from 2)."""

    offset: int = 0


@dataclass(frozen=True)
class Tokens:
    """The entry's token ids."""


Value = View | Positions | Tokens
