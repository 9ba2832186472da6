"""What every linear kernel shares around its inner loops: units, row blocks, bias, epilogue, name and cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from edgeq.kernels import vector as V
from edgeq.kernels.epilogue import Epilogue
from edgeq.kernels.kernel import Kernel, Param
from edgeq.kernels.naming import symbol
from edgeq.quant.format import TILE_ROWS, WeightFormat

PANELS = 16  # units of 16 outputs that share a block of activation rows while it is in cache
MAX_TILES = 2  # that one block computes: gate and up, or two units
_FARTHEST = 1 << 17  # bytes of prefetch: what comes must find room in L2 beside what is used
_ACCESS = {"w": "weight", "bias": "weight", "o": "out"}


class Stored(Protocol):
    """What a linear knows of the way its weight is stored in tiles; `str` of it names the format."""

    def tile_bytes(self, K: int) -> int:
        """Bytes of 16 rows of K weights."""

    def nbytes(self, N: int, K: int) -> int:
        """Bytes of a weight [N, K]."""


@dataclass(frozen=True)
class Linear:
    """A weight [N, K] stored as `fmt`, what happens to its outputs, and how far rows of o lie apart (0: its width)."""

    N: int
    K: int
    fmt: Stored
    end: Epilogue
    bias: bool
    ld: int = 0

    @property
    def width(self) -> int:
        """Columns of o."""
        return self.end.width(self.N)

    def name(self, family: str) -> str:
        """C symbol without the ISA."""
        more = [*(["bias"] if self.bias else []), *([f"ld{self.ld}"] if self.ld else [])]
        return symbol(family, str(self.fmt), f"{self.N}x{self.K}", str(self.end), *more)

    def kernel(self, family: str, names: tuple[str, ...], build: Callable[..., Any], chunk: bool) -> Kernel:
        """The Kernel whose pointers are called `names`; `chunk`: it takes m rows."""
        params = [Param(n, _ACCESS.get(n, "in")) for n in names]
        unit = "16 output rows, all activation rows" if chunk else "16 output rows"
        scalars = [Param("m", "value")] if chunk else []
        weight_bytes = self.fmt.nbytes(self.N, self.K)
        return Kernel(self.name(family), (*scalars, *params), build, unit, weight_bytes, self.N * self.K)

    def tile(self, unit: V.Expr, t: int) -> V.Expr:
        """Byte offset (int64) of the t-th weight tile of a unit."""
        number = V.i64(unit) * V.i64(self.end.tiles) + V.i64(t)
        return V.let(number * V.i64(self.fmt.tile_bytes(self.K)))

    def finish(
        self, unit: V.Expr, sums: list[V.Expr], scale: V.Expr | None,
        bias: V.Memory, r: V.Memory, o: V.Memory, at: V.Expr,
    ) -> None:  # fmt: skip
        """Scale (a scalar, or None), bias and epilogue of 16 outputs, stored at element `at` of o."""
        factor = None if scale is None else V.let(V.splat(scale))
        y = []
        for t, s in enumerate(sums):
            first = (unit * V.i32(self.end.tiles) + V.i32(t)) * V.i32(TILE_ROWS)
            y.append(V.let(self._scaled(s, factor, bias.vector(first) if self.bias else None)))
        self.end.emit(y, r, o, at)

    @staticmethod
    def _scaled(s: V.Expr, factor: V.Expr | None, bias: V.Expr | None) -> V.Expr:
        if factor is None:
            return s if bias is None else s + bias
        return V.fence(s * factor) if bias is None else V.fma(s, factor, bias)

    def fetch_residual(self, units: list[V.Expr], m0: V.Expr, rows: int, r: V.Memory) -> None:
        """Ask for what `add` reads of r while the sums are computed: waiting for it cost 10-20 % at K = 576."""
        if self.end.kind == "add":
            with V.loop(0, rows) as i:
                for unit in units:
                    r.prefetch((m0 + i) * V.i32(self.width) + unit * V.i32(TILE_ROWS))

    def finish_rows(
        self, unit: V.Expr, count: V.Expr, m0: V.Expr, sums: RowSums,
        scale: Callable[[V.Expr], V.Expr | None], bias: V.Memory, r: V.Memory, o: V.Memory,
    ) -> None:  # fmt: skip
        """`finish` of rows m0, m0 + 1, ... of units unit .. unit + count - 1; loops: an activation is much code."""
        with V.loop(V.i32(0), count) as u, V.loop(0, sums.rows) as i:
            row, tile = V.let(m0 + i), V.let(u * V.i32(self.end.tiles))
            y = [sums.get(tile + V.i32(t), i) for t in range(self.end.tiles)]
            at = V.let(row * V.i32(self.ld or self.width) + (unit + u) * V.i32(TILE_ROWS))
            self.finish(V.let(unit + u), y, scale(row), bias, r, o, at)


class RowSums:
    """Sums of a block, float32x16 a tile and row, on the stack: a tile's are put there before the next tile starts, so
    that they occupy no registers, and the epilogue can loop over them."""

    def __init__(self, rows: int):
        self.rows, self.tiles = rows, 0
        self.stack = V.Stack(MAX_TILES * rows * TILE_ROWS, "float32")

    def put(self, sums: list[V.Expr]) -> None:
        """Append a tile's rows."""
        for i, s in enumerate(sums):
            self.stack.store(V.i32((self.tiles * self.rows + i) * TILE_ROWS), s)
        self.tiles += 1

    def get(self, tile: V.Expr, row: V.Expr) -> V.Expr:
        """Sums of a tile and row."""
        return self.stack.vector((tile * V.i32(self.rows) + row) * V.i32(TILE_ROWS))


def ahead(fmt: WeightFormat, K: int, tiles: int) -> int:
    """Bytes by which a chunk's software prefetch runs ahead: to the tiles of the next step, `tiles` further."""
    return min(fmt.tile_bytes(K) * tiles, _FARTHEST)


def blocks(
    lo: V.Expr, hi: V.Expr, m: V.Expr, rows: int, emit: Callable[[list[V.Expr], V.Expr, V.Expr], None], step: int = 1,
    panels: int = PANELS,
) -> None:  # fmt: skip
    """Loops of a chunk, over blocks of `rows` rows and steps of `step` units, `panels` units to a pass over the rows.

    emit(units, count, first row): `units` are the step's; of the last step only `count` are to be stored, and those
    beyond repeat a unit of the range, so that reading them is harmless.
    """
    with V.loop(V.i32(0), (hi - lo + V.i32(panels - 1)) // V.i32(panels)) as panel:
        first = V.let(lo + panel * V.i32(panels))
        last = V.let(V.minimum(first + V.i32(panels), hi))
        steps = (last - first + V.i32(step - 1)) // V.i32(step)
        with V.loop(V.i32(0), (m + V.i32(rows - 1)) // V.i32(rows)) as block, V.loop(V.i32(0), steps) as i:
            unit = V.let(first + i * V.i32(step))
            units = [unit, *(V.let(V.minimum(unit + V.i32(u), last - V.i32(1))) for u in range(1, step))]
            count = V.let(V.minimum(last - unit, V.i32(step))) if step > 1 else V.i32(1)
            emit(units, count, V.let(block * V.i32(rows)))
