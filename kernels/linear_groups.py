"""Emits the walk over the quantization groups of packed tiles: a loop over whole blocks, then what is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeq.kernels import vector as V
from edgeq.quant.format import GroupOffsets, WeightFormat


@dataclass(frozen=True)
class Group:
    """One group of a tile: byte offsets (int64) of its vectors, fp16 scales and zero points; its place in the row."""

    vectors: V.Expr
    scale: V.Expr
    zero: V.Expr
    number: V.Expr  # int32
    start: V.Expr  # int32, its first k
    length: int


def walk(
    fmt: WeightFormat, K: int, tiles: list[V.Expr], visit: Callable[[list[Group]], None], run: int = 1,
    each: bool = True,
) -> None:  # fmt: skip
    """Call `visit`, which emits code, for every group in order of k, with the group of each tile.

    tiles: byte offsets (int64). run: whole groups of a block that one visit gets, of each tile in turn, 1 or 2.
    each: whether every run of a block has code of its own; else (run 1) there is a loop over its groups too.
    """
    offsets, bounds = fmt.offsets(K), fmt.group_bounds(K)
    size, per_block = bounds[0][1], fmt.block_groups
    blocks = K // size // per_block
    if blocks > 1:
        with V.loop(0, blocks) as b:
            bases = [V.let(tile + V.i64(b) * V.i64(fmt.block_bytes(K))) for tile in tiles]
            first = V.let(b * V.i32(per_block))
            if each:
                for j in range(0, per_block, run):
                    some = range(j, j + run)
                    visit([_place(offsets[i], base, first + V.i32(i), size, size) for base in bases for i in some])
            else:
                with V.loop(0, per_block) as j:
                    visit([_place(_moved(offsets, j), base, V.let(first + j), size, size) for base in bases])
    for g in range(blocks * per_block if blocks > 1 else 0, len(bounds)):
        visit([_place(offsets[g], tile, V.i32(g), size, bounds[g][1] - bounds[g][0]) for tile in tiles])


def _moved(offsets: list[GroupOffsets], j: V.Expr) -> list[V.Expr]:
    """Offsets of a block's j-th group: its groups lie evenly."""
    return [V.let(V.i64(a) + V.i64(j) * V.i64(b - a)) for a, b in zip(offsets[0], offsets[1], strict=True)]


def _place(at: GroupOffsets | list[V.Expr], base: V.Expr, number: V.Expr, size: int, length: int) -> Group:
    vectors, scale, zero = (base + (V.i64(offset) if isinstance(offset, int) else offset) for offset in at)
    return Group(
        vectors=vectors,
        scale=scale,
        zero=zero,
        number=number,
        start=number * V.i32(size),
        length=length,
    )
