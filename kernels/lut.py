"""GEMV of weights of 1 and 2 bits by tables of sums (T-MAC), where the CPU has tables of 64 bytes; else by products.

`gemv` computes what `linear_int.gemv` computes, bit for bit, and takes `tables` besides, which `tables` makes of the
same codes for all linears that read them. Where nothing is looked up `tables` writes nothing.

No plan calls these: lookups win where a 1-bit weight is as large as 4096 x 4096 and yet in a cache (`lut_tile`), and
a model of such layers is not. They are kept, tested and measured, for CPUs whose products cost more.
"""

from __future__ import annotations

from typing import Any

from edgeq.errors import UnsupportedError
from edgeq.kernels import linear_int, linear_int_tile, lut_tile
from edgeq.kernels import vector as V
from edgeq.kernels.epilogue import Epilogue
from edgeq.kernels.kernel import Kernel, Param, factory
from edgeq.kernels.linear_frame import Linear
from edgeq.kernels.linear_int_operands import AHEAD, Operands
from edgeq.kernels.lut_tile import TABLE_BYTES, emit_tables, looks_up, table_count
from edgeq.kernels.naming import symbol
from edgeq.quant.format import WeightFormat
from edgeq.targets.isa import Isa

_POINTERS = {
    "w": "uint8", "bias": "float32", "q": "int32", "corr": "int32", "tables": "int32", "sa": "float32",
    "r": "float32", "o": "float32",
}  # fmt: skip


@factory
def tables(K: int, fmt: WeightFormat) -> Kernel:
    """Tables of one row of codes; call with (0, 1). C parameters: q i8[K], tables u8[table_bytes(K, fmt)].

    Raises UnsupportedError for a format without such a kernel, or a K that it cannot hold.
    """
    _check(K, fmt)
    name = symbol("tables", str(fmt), K)

    def build(isa: Isa) -> Any:
        def body(lo: V.Expr, hi: V.Expr, q: V.Memory, out: V.Memory) -> None:
            if looks_up(isa):
                emit_tables(fmt, K, q, out)

        return V.function(name, isa, (), {"q": "int32", "tables": "int32"}, body)

    return Kernel(name, (Param("q", "in"), Param("tables", "out")), build, "all")


@factory
def gemv(N: int, K: int, fmt: WeightFormat, epilogue: str = "store", bias: bool = False) -> Kernel:
    """`linear_int.gemv` with tables; unit: 16 outputs; parameters w, bias, q, corr, tables, sa, r, o.

    Raises UnsupportedError as `tables` does, or for an unknown epilogue.
    """
    _check(K, fmt)
    linear = Linear(N, K, fmt, Epilogue.parse(epilogue), bias)
    linear.end.width(N)

    def build(isa: Isa) -> Any:
        def body(lo: V.Expr, hi: V.Expr, w: V.Memory, b: V.Memory, *rest: V.Memory) -> None:
            q, corr, held, sa, r, o = rest
            x = Operands(isa, fmt, K, 1, w, q, corr, V.i32(0), V.i32(0), AHEAD)
            with V.loop(lo, hi) as unit:
                tiles = [linear.tile(unit, t) for t in range(linear.end.tiles)]
                sums = lut_tile.emit_tiles(x, held, tiles) if looks_up(isa) else _products(x, tiles)
                linear.finish(unit, sums, sa[V.i32(0)], b, r, o, unit * V.i32(16))

        return V.function(linear.name("gemv_lut"), isa, (), _POINTERS, body)

    return linear.kernel("gemv_lut", tuple(_POINTERS), build, chunk=False)


def takes(fmt: WeightFormat) -> bool:
    """Whether a format's codes are nibbles of sums: one plane of 1 or 2 bits, nothing stored beside scales."""
    return fmt.kind in ("binary", "ternary") or (fmt.kind == "int" and fmt.bits == 2 and fmt.symmetric)


def table_bytes(K: int, fmt: WeightFormat) -> int:
    """Bytes of the tables of one row of K codes."""
    return TABLE_BYTES * table_count(fmt, K)


def _products(x: Operands, tiles: list[V.Expr]) -> list[V.Expr]:
    return [linear_int_tile.emit_tiles(x, [tile])[0][0] for tile in tiles]


def _check(K: int, fmt: WeightFormat) -> None:
    if not takes(fmt):
        raise UnsupportedError(f"no tables for {fmt} weights: w1, t2 and symmetric w2 have them")
    fmt.check_width(K)


reference = linear_int.reference
