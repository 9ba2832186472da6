"""Key and value caches of 4 and 2 bits: what their bytes mean (KIVI's layout; docs/kv-cache.md draws it).

Positions come in blocks of 32. The block of a query and the `WINDOW - 1` before it are read in float16, from a ring of
`ring` positions; older ones as codes. So which positions are float follows from the query's position alone, and the
codes of a block from its own 32 positions alone: results do not depend on how a text is cut into chunks.

A *line* is what shares a scale and a minimum, both float16: one key channel over the 32 positions of a block, or 32
value channels (16 where 32 do not divide the head) of one position; `value = code * scale + min`, code 0..2^bits-1.

Key block `{codes, f16 scale[D], f16 min[D]}`. Codes are vectors of 64 bytes, int32 lanes: lane = position (0..15),
byte = channel of a quad; code vector `2 * quad + half of the block`. Value block `{codes, f16 scale[G][32],
f16 min[G][32]}`: lane = channel of a tile of 16, byte = position of a quad; code vector `8 * tile + quad`. A stored
vector holds `8 / bits` code vectors, the first in the lowest bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeq.errors import UnsupportedError

BLOCK = 32  # positions that a key channel's scale is for
WINDOW = 4  # blocks read in float: a query's own and those right before it
SLACK = (WINDOW - 1) * BLOCK + BLOCK  # a ring's positions beyond the rows that are written at once
BITS = {"i4": 4, "i2": 2}
TINY = 1e-30  # a scale below this counts as this: a line of equal values has scale 0 and codes 0
Index = Any  # an int or a TIR expression


def ring_length(rows: int, context: int) -> int:
    """Positions that a ring needs when up to `rows` are written before the first of them is a query's."""
    return BLOCK * min(-(-(rows + SLACK) // BLOCK), -(-context // BLOCK))


@dataclass(frozen=True)
class KvBlocks:
    """Shape of one layer's quantized blocks and of the float ring beside them.

    Raises UnsupportedError when the ring is not of whole blocks or too short to hold a window.
    """

    heads: int
    key_dim: int
    value_dim: int
    kv: str
    context: int
    ring: int

    def __post_init__(self) -> None:
        if self.ring % BLOCK or self.ring < ring_length(1, self.context):
            raise UnsupportedError(
                f"a {self.kv} cache: a ring of {self.ring} positions; it needs a multiple of {BLOCK}, "
                f"at least {ring_length(1, self.context)} for a context of {self.context}"
            )

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return BITS[self.kv]

    @property
    def fields(self) -> int:
        """Code vectors in a stored vector."""
        return 8 // self.bits

    @property
    def top(self) -> int:
        """Largest code."""
        return (1 << self.bits) - 1

    @property
    def middle(self) -> int:
        """What value codes are counted from in products, so that rounded weights err around the middle."""
        return 1 << (self.bits - 1)

    @property
    def wraps(self) -> bool:
        """Whether the ring is shorter than the context."""
        return self.ring < self.context

    @property
    def count(self) -> int:
        """Blocks of a head."""
        return -(-self.context // BLOCK)

    @property
    def group(self) -> int:
        """Value channels of a line."""
        return BLOCK if self.value_dim % BLOCK == 0 else BLOCK // 2

    @property
    def groups(self) -> int:
        """Lines of a position's values."""
        return self.value_dim // self.group

    @property
    def key_words(self) -> int:
        """int32 words of a key block."""
        return self.key_dim * self.bits + self.key_dim

    @property
    def value_words(self) -> int:
        """int32 words of a value block."""
        return self.value_dim * self.bits + self.groups * BLOCK

    @property
    def key_shape(self) -> tuple[int, ...]:
        """Key blocks as int32."""
        return (self.heads, self.count, self.key_words)

    @property
    def value_shape(self) -> tuple[int, ...]:
        """Value blocks as int32."""
        return (self.heads, self.count, self.value_words)

    def key_at(self, head: Index, block: Index) -> Index:
        """First int32 of a key block: its codes."""
        return (head * self.count + block) * self.key_words

    def key_scales(self, head: Index, block: Index) -> Index:
        """Index in float16 of a key block's scales; minima follow `key_dim` later."""
        return (self.key_at(head, block) + self.key_dim * self.bits) * 2

    def value_at(self, head: Index, block: Index) -> Index:
        """First int32 of a value block: its codes."""
        return (head * self.count + block) * self.value_words

    def value_scales(self, head: Index, block: Index, group: Index) -> Index:
        """Index in float16 of a group's 32 scales; minima follow `groups * 32` later."""
        return (self.value_at(head, block) + self.value_dim * self.bits) * 2 + group * BLOCK


def quantize(lines: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lines f32[..., n] -> codes u8[..., n], scale f16[...], min f16[...], with the kernels' roundings."""
    low, high = lines.min(-1).astype(np.float32), lines.max(-1).astype(np.float32)
    top = (1 << bits) - 1
    scale = ((high - low) * np.float32(1 / top)).astype(np.float16)
    inverse = np.float32(1) / np.maximum(scale.astype(np.float32), np.float32(TINY))
    codes = np.minimum((lines - low[..., None]) * inverse[..., None], np.float32(top))
    return np.rint(codes).astype(np.uint8), scale, low.astype(np.float16)


def pack(vectors: np.ndarray, bits: int) -> np.ndarray:
    """Code vectors u8[..., n, 64] -> stored bytes u8[..., n * bits / 8, 64]."""
    fields = 8 // bits
    split = vectors.reshape(*vectors.shape[:-2], -1, fields, 64)
    shifts = (bits * np.arange(fields, dtype=np.uint8))[:, None]
    return np.bitwise_or.reduce(split << shifts, axis=-2)


def unpack(stored: np.ndarray, bits: int) -> np.ndarray:
    """Inverse of `pack`."""
    fields = 8 // bits
    shifts = (bits * np.arange(fields, dtype=np.uint8))[:, None]
    codes = (stored[..., None, :] >> shifts) & np.uint8((1 << bits) - 1)
    return codes.reshape(*stored.shape[:-2], -1, 64)


def pack_keys(blocks: KvBlocks, keys: np.ndarray) -> np.ndarray:
    """Keys [heads][context][D] (as float16) -> key blocks int32 as the kernels store them; context: whole blocks."""
    lines = keys.astype(np.float32).reshape(blocks.heads, -1, BLOCK, blocks.key_dim).swapaxes(-1, -2)
    codes, scale, low = quantize(lines, blocks.bits)
    quads = codes.reshape(*codes.shape[:2], -1, 4, 2, 16)  # quad, channel, half, position
    vectors = quads.transpose(0, 1, 2, 4, 5, 3).reshape(*codes.shape[:2], -1, 64)
    return _join(pack(vectors, blocks.bits), scale, low)


def pack_values(blocks: KvBlocks, values: np.ndarray) -> np.ndarray:
    """Values [heads][context][Dv] (values of float16) -> value blocks int32; context whole blocks."""
    lines = values.astype(np.float32).reshape(blocks.heads, -1, BLOCK, blocks.groups, blocks.group)
    codes, scale, low = quantize(lines, blocks.bits)
    quads = codes.reshape(*codes.shape[:2], 8, 4, -1, 16)  # quad, position, tile, channel
    vectors = quads.transpose(0, 1, 4, 2, 5, 3).reshape(*codes.shape[:2], -1, 64)
    return _join(pack(vectors, blocks.bits), scale.swapaxes(-1, -2), low.swapaxes(-1, -2))


def unpack_keys(blocks: KvBlocks, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Key blocks -> codes u8[heads][blocks][32][D], scale and min f32[heads][blocks][D]."""
    vectors, scale, low = _split(blocks, stored, blocks.key_dim * blocks.bits, blocks.key_dim)
    quads = vectors.reshape(*vectors.shape[:2], -1, 2, 16, 4)  # quad, half, position, channel
    codes = quads.transpose(0, 1, 3, 4, 2, 5).reshape(*vectors.shape[:2], BLOCK, -1)
    return codes, scale, low


def unpack_values(blocks: KvBlocks, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value blocks -> codes u8[heads][blocks][32][Dv], scale and min f32[heads][blocks][G][32]."""
    lines = blocks.groups * BLOCK
    vectors, scale, low = _split(blocks, stored, blocks.value_dim * blocks.bits, lines)
    quads = vectors.reshape(*vectors.shape[:2], -1, 8, 16, 4)  # tile, quad, channel, position
    codes = quads.transpose(0, 1, 3, 5, 2, 4).reshape(*vectors.shape[:2], BLOCK, -1)
    shape = (*vectors.shape[:2], blocks.groups, BLOCK)
    return codes, scale.reshape(shape), low.reshape(shape)


def _join(codes: np.ndarray, scale: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Bytes of codes, scales and minima of every block, as int32."""
    front = codes.shape[:2]
    parts = [np.ascontiguousarray(x).view(np.uint8).reshape(*front, -1) for x in (codes, scale, low)]
    return np.ascontiguousarray(np.concatenate(parts, -1)).view(np.int32)


def _split(blocks: KvBlocks, stored: np.ndarray, words: int, lines: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    codes = np.ascontiguousarray(stored[..., :words]).view(np.uint8).reshape(*stored.shape[:2], -1, 64)
    halves = np.ascontiguousarray(stored[..., words:]).view(np.float16).astype(np.float32)
    return unpack(codes, blocks.bits), halves[..., :lines], halves[..., lines:]
