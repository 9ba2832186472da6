"""Emits 16 output rows times a few activation rows of a 2:4 sparse linear: the inner loops of `sparse`.

16 activations (4 quads) are in a register; each output picks by its stored places the four that its kept codes of 8 k
meet (a byte shuffle), and one dot product does 8 k. What was picked differs from output to output, so no sum of the
activations can make up for an offset of the codes: these are signed, and

| `isa.dot` | how | why it is exact |
|---|---|---|
| `vnni512` | `vpshufb`, `vpdpbusd` of activations + 128, less a `vpdpbusd` of 128 with the codes | int32 |
| `avx2` | `vpshufb`, `vpmaddubsw` of `abs(code)` with `sign(activation, code)` | `2 * 128 * 127 < 2**15` |
| `sdot`, `smmla` | `tbl`, `sdot` (`smmla` would want outputs that share activations) | int32 |
| `smlal` | `tbl`, two `smull` added in int16, then widened | `2 * 128 * 127 < 2**15` |
| `generic` | a load and a multiplication for each kept code | int32 |

Codes of 4 bits are moved to the upper half of a byte, 16 times their value, which saves extending their sign; a group's
scale is divided by 16, which loses nothing. The order of float operations is that of `linear_int_tile`: GEMV and GEMM
agree bit for bit.

Times of one thread (CPU time, busy 2-core Zen 5, `benchmarks/kernels_sparse.py --cpu`), of dense kernels over these:

| version | DRAM: s8 to w8, s4g64 to w4g64 | L2 | GEMM 256x2048x2048 |
|---|---|---|---|
| GEMV with 2 chains; GEMM adds 128 itself | 1.55, 1.23 | 1.4, 0.91 | 1.07, 1.00 |
| GEMV with 4 chains, of short groups 1 | 1.59, 1.24 | 1.5, 0.88 | |
| GEMM of activations + 128 (`quantize_rows`), 2 tiles | | | 1.11, 1.03 |
| the same, 1 tile | | | 1.02, 1.03 |

From DRAM the bytes decide: 8 / 5 = 1.6, 4.25 / 3.25 = 1.31. A GEMM gains little: half the products, a shuffle each.
"""

from __future__ import annotations

from edgeq.kernels import vector as V
from edgeq.kernels.linear_groups import Group, walk
from edgeq.kernels.quantize import UNSIGNED
from edgeq.kernels.sparse_arm import emit_block, takes
from edgeq.kernels.sparse_operands import Operands
from edgeq.quant.format import TILE_ROWS, VECTOR_BYTES, WeightFormat
from edgeq.targets.isa import Isa

CHAINS = 4  # integer accumulators of a GEMV with long groups: one chain of dot products would wait for its own latency
_SHORT = 128  # weights of a group whose chain overlaps with the next group's


def together(isa: Isa, fmt: WeightFormat) -> int:
    """Tiles whose rows a GEMM sums side by side: with long groups a second one shares the loads of activations (15 %);
    with short groups its float sums would be spilled."""
    return 2 if isa.dot == "vnni512" and not fmt.group_size else 1


def emit_tiles(x: Operands, tiles: list[V.Expr]) -> list[list[V.Expr]]:
    """float32x16 sums, [tile][activation row], of the tiles at byte offsets `tiles` (int64), computed side by side."""
    if takes(x.isa):
        return [emit_block(x, tile) for tile in tiles]
    sums = Scalars(x) if x.isa.dot == "generic" else Vectors(x, len(tiles))
    walk(x.fmt, x.K, tiles, sums.add)
    return sums.rows()


class Vectors:
    """Sums of tiles in x86 registers: 16 outputs in one, or two halves of 8."""

    def __init__(self, x: Operands, tiles: int):
        self.x, self.tiles, self.vnni = x, tiles, x.isa.dot == "vnni512"
        self.lanes = 16 if self.vnni else 8
        self.starts = range(0, TILE_ROWS, self.lanes)
        self.chains = CHAINS if x.rows == 1 and not 0 < x.fmt.group_size <= _SHORT else 1
        self.sums = [[V.Reg("float32", V.splat(0.0)) for _ in range(x.rows)] for _ in range(tiles)]

    def rows(self) -> list[list[V.Expr]]:
        """float32x16 sums of every tile and activation row."""
        return [[row.v for row in tile] for tile in self.sums]

    def add(self, groups: list[Group]) -> None:
        """Add one group, of every tile, to every row's sum."""
        self.integers = [[self._zeros() for _ in range(self.x.rows)] for _ in groups]
        self.offsets = [self._zeros() for _ in groups] if self.vnni else []
        bases = [group.vectors for group in groups]
        self.x.steps(groups[0], lambda at, number, fields: self._step(at, bases, number, fields))
        for t, group in enumerate(groups):
            scale = self.x.scale(self.x.weights.view(group.scale, "float16x16"))
            offset = V.let(self._joined(self.offsets[t])) if self.vnni else None
            for total, registers in zip(self.sums[t], self.integers[t], strict=True):
                integer = self._joined(registers)
                integer = integer if offset is None else integer - offset
                total.set(V.fma(V.cast("float32", integer), scale, total.v))

    def _zeros(self) -> list[list[V.Reg]]:
        """Accumulators, [chain][part of the outputs]."""
        zero = V.splat(0, self.lanes)
        return [[V.Reg("int32", zero, self.lanes) for _ in self.starts] for _ in range(self.chains)]

    def _joined(self, chains: list[list[V.Reg]]) -> V.Expr:
        """int32x16 total."""
        parts = []
        for p in range(len(self.starts)):
            total = chains[0][p].v
            for chain in chains[1:]:
                total = total + chain[p].v
            parts.append(V.let(total))
        return parts[0] if len(parts) == 1 else V.concat(parts)

    def _step(self, at: V.Expr, bases: list[V.Expr], number: V.Expr, fields: int) -> None:
        """Add a step of every tile: `at` is that of the first."""
        tiles = [at, *(V.let(at - bases[0] + base) for base in bases[1:])]
        for tile in tiles:
            self.x.prefetch(tile, fields)
        for pair in range(fields // 2):
            self._pair(tiles, V.let(number + V.i32(pair)), range(2 * pair, 2 * pair + 2), fields)

    def _pair(self, tiles: list[V.Expr], number: V.Expr, pair: range, fields: int) -> None:
        """Add the two fields of each tile that meet the number-th 16 activations."""
        x, held = self.x, []
        for t, tile in enumerate(tiles):
            for f in pair:
                for p, start in enumerate(self.starts):
                    codes = x.codes(tile, f, fields, start, self.lanes)
                    held.append((t, f % self.chains, p, x.indexes(tile, f, start, self.lanes), codes))
                    if self.vnni:
                        _dot(self.offsets[t][f % self.chains][p], V.splat(UNSIGNED), codes)
        for row in range(x.rows):
            values = V.concat([V.let(x.sixteen(number, row))] * (self.lanes // 4))
            values = V.let(values ^ V.splat(UNSIGNED) if self.vnni and x.rows == 1 else values)
            for t, chain, p, places, codes in held:
                (_dot if self.vnni else _signed)(self.integers[t][row][chain][p], _pick(values, places), codes)


def _pick(values: V.Expr, places: V.Expr) -> V.Expr:
    """The bytes of `values` (16 in every 128 bits) that `places` name."""
    size = 4 * V.lanes_of(values)
    name = "llvm.x86.avx512.pshuf.b.512" if size == 64 else "llvm.x86.avx2.pshuf.b"
    return V.intrinsic(f"int8x{size}", name, V.bits(f"int8x{size}", values), V.bits(f"int8x{size}", places))


def _dot(total: V.Reg, values: V.Expr, codes: V.Expr) -> None:
    """`vpdpbusd`: unsigned values times signed codes, int32x16."""
    unsigned, signed = V.bits("uint8x64", values), V.bits("int8x64", codes)
    total.set(V.intrinsic("int32x16", "llvm.x86.avx512.vpdpbusd.512", total.v, unsigned, signed))


def _signed(total: V.Reg, values: V.Expr, codes: V.Expr) -> None:
    """int32x8 += signed bytes times signed bytes."""
    codes, sign = V.bits("int8x32", codes), "llvm.x86.avx2.psign.b"
    size = V.bits("uint8x32", V.intrinsic("int8x32", sign, codes, codes))
    words = V.intrinsic("int16x16", "llvm.x86.avx2.pmadd.ub.sw", size, V.intrinsic("int8x32", sign, values, codes))
    ones = V.bits("int16x16", V.splat(0x00010001, 8))
    total.set(total.v + V.intrinsic("int32x8", "llvm.x86.avx2.pmadd.wd", words, ones))


class Scalars:
    """Sums of one tile on the stack, a kept code at a time: for a CPU without a byte shuffle."""

    def __init__(self, x: Operands):
        self.x = x
        self.sums, self.integers = V.Stack(x.rows * TILE_ROWS, "float32"), V.Stack(x.rows * TILE_ROWS, "int32")
        self.scale = V.Stack(TILE_ROWS, "float32")
        with V.loop(0, x.rows) as row:
            self.sums.store(row * V.i32(TILE_ROWS), V.splat(0.0))

    def rows(self) -> list[list[V.Expr]]:
        """float32x16 sums of the tile's activation rows."""
        return [[self.sums.vector(i * TILE_ROWS) for i in range(self.x.rows)]]

    def add(self, groups: list[Group]) -> None:
        """Add one group to every row's sum."""
        (group,), x = groups, self.x
        with V.loop(0, x.rows) as row:
            self.integers.store(row * V.i32(TILE_ROWS), V.splat(0))
        x.steps(group, self._step)
        self.scale.store(V.i32(0), V.from_half(x.isa, x.weights.view(group.scale, "float16x16")))
        with V.loop(0, x.rows) as row, V.loop(0, TILE_ROWS) as lane:
            i = V.let(row * V.i32(TILE_ROWS) + lane)
            self.sums.store(i, V.fma(V.cast("float32", self.integers[i]), self.scale[lane], self.sums[i]))

    def _step(self, at: V.Expr, number: V.Expr, fields: int) -> None:
        with V.loop(0, TILE_ROWS) as lane:
            for byte in range(4):
                here = V.let(at + V.i64(lane) * V.i64(4) + V.i64(byte))
                places = V.let(V.cast("int32", self.x.weights[here]))
                for f in range(fields):
                    self._kept(here, lane, byte, f, fields, number, (places >> V.i32(2 * f)) & V.i32(3))

    def _kept(
        self, here: V.Expr, lane: V.Expr, byte: int, f: int, fields: int, number: V.Expr, place: V.Expr
    ) -> None:  # fmt: skip
        """Add one kept code times its activation, of every row."""
        x, code = self.x, self._code(here, f, fields)
        bytes_, first = x.q.as_type("int8"), f % 2 * 8 + byte // 2 * 4
        block = V.let((number + V.i32(f // 2)) * V.i32(x.rows))
        place = V.let(x.first * V.i32(4) + V.i32(first) + place)
        with V.loop(0, x.rows) as row:
            i = V.let(row * V.i32(TILE_ROWS) + lane)
            value = V.cast("int32", bytes_[(block + row) * V.i32(16) + place])
            self.integers.store(i, self.integers[i] + code * value)

    def _code(self, here: V.Expr, f: int, fields: int) -> V.Expr:
        """int32."""
        if self.x.bits == 8:
            stored = self.x.weights.as_type("int8")[here + V.i64((1 + f) * VECTOR_BYTES)]
            return V.let(V.cast("int32", stored))
        half = fields // 2
        stored = V.cast("int32", self.x.weights[here + V.i64((1 + f % half) * VECTOR_BYTES)])
        return V.let((stored << V.i32(28 if f < half else 24)) >> V.i32(28))


assert TILE_ROWS == V.LANES
