"""Signs packed one bit each: what the bytes of a binary weight mean, and the activations that meet it.

A code is -1 or +1 (bit 0 or 1); bit b of word w of a row is k = 32 * w + b, so that a row is `words(K)` uint32 and bits
past K are 0. A weight `[N, K]` is stored in tiles of 16 rows:

    word 0 of 16 rows | word 1 of 16 rows | ... | scale f32[16]

one 64-byte vector a word, rows past N all zero (scale 0). Activation rows are interleaved in panels of R = `rows(isa)`,
each word repeated C = `copies(isa)` times: `u32[M/R][words][R][C]`; rows past m are zero words. A row takes up to
`row_bytes(K)` on any instruction set. Both sides pad with equal bits, which an exclusive or cancels:

    sum over k of w[k] * x[k] = K - 2 * popcount(w ^ x)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import UnsupportedError
from edgeq.targets.isa import Isa

WORD_BITS = 32
TILE_ROWS = 16
VECTOR_BYTES = 64
BLOCK = 16  # activation buffers hold whole blocks of 16 rows
MAX_WIDTH = 1 << 23  # counts stay exact as float32
MAX_COPIES = 4
Words = NDArray[np.uint32]


def words(K: int) -> int:
    """uint32 words of a row of K signs."""
    return -(-K // WORD_BITS)


def rows(isa: Isa) -> int:
    """R: activation rows of a panel; with 16 outputs each, their counts fill the registers."""
    return min(8, isa.accumulators)


def copies(isa: Isa) -> int:
    """C: how often an activation word is stored.

    A whole register of ARM: duplicating a lane there takes a vector instruction, one of thirteen. x86 loads with
    duplication for nothing.
    """
    return MAX_COPIES if isa.triple.startswith("aarch64") else 1


def row_bytes(K: int) -> int:
    """Bytes of a row of K packed activations where they take most (ARM)."""
    return words(K) * WORD_BITS // 8 * MAX_COPIES


@dataclass(frozen=True)
class BinaryFormat:
    """Signs and one float32 scale a row, in tiles of 16 rows."""

    def __str__(self) -> str:
        return "w1"

    def check_width(self, K: int) -> None:
        """Raise UnsupportedError unless rows of `K` signs can be stored and counted."""
        if not 0 < K <= MAX_WIDTH:
            raise UnsupportedError(f"w1: a weight with {K} input channels; need 1 to {MAX_WIDTH}")

    def scale_offset(self, K: int) -> int:
        """Bytes from the start of a tile to its 16 scales."""
        return words(K) * VECTOR_BYTES

    def tile_bytes(self, K: int) -> int:
        """Bytes of 16 rows of `K` signs and their scales; a multiple of 64."""
        self.check_width(K)
        return self.scale_offset(K) + VECTOR_BYTES

    def nbytes(self, N: int, K: int) -> int:
        """Bytes of a packed weight `[N, K]`, its rows padded to a multiple of 16."""
        return -(-N // TILE_ROWS) * self.tile_bytes(K)


FORMAT = BinaryFormat()


def pack_signs(codes: NDArray[Any]) -> Words:
    """Numbers [M, K] -> uint32[M, words]: bit 1 where a number is >= 0 (so -1 gives 0, and 0 counts as +1)."""
    codes = np.asarray(codes)
    bits = np.zeros((len(codes), words(codes.shape[1]) * WORD_BITS), np.uint8)
    bits[:, : codes.shape[1]] = codes >= 0
    return np.packbits(bits, axis=1, bitorder="little").view("<u4")


def unpack_signs(packed: Words, K: int) -> NDArray[np.int8]:
    """uint32[M, words] -> int8[M, K] of -1 and +1."""
    data = np.ascontiguousarray(packed, "<u4").view(np.uint8)
    return np.unpackbits(data, axis=1, count=K, bitorder="little").astype(np.int8) * np.int8(2) - np.int8(1)


def pack(codes: NDArray[Any], scale: NDArray[Any]) -> NDArray[np.uint8]:
    """Signs [N, K] and scales [N] -> the bytes of a weight, uint8[ceil(N/16) * tile_bytes(K)]."""
    N, K = codes.shape
    out = np.zeros((-(-N // TILE_ROWS), FORMAT.tile_bytes(K) // 4), "<u4")
    whole = np.zeros((len(out) * TILE_ROWS, words(K) + 1), "<u4")
    whole[:N, :-1] = pack_signs(codes)
    whole[:N, -1] = np.asarray(scale, "<f4").view("<u4")
    out[...] = whole.reshape(len(out), TILE_ROWS, -1).transpose(0, 2, 1).reshape(out.shape)
    return out.view(np.uint8).reshape(-1)


def unpack(data: NDArray[np.uint8], N: int, K: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Inverse of `pack`: (int8[N, K] of -1 and +1, float32[N])."""
    tiles = np.ascontiguousarray(data).view("<u4").reshape(-1, words(K) + 1, TILE_ROWS)
    whole = np.ascontiguousarray(tiles.transpose(0, 2, 1)).reshape(-1, words(K) + 1)[:N]
    return unpack_signs(whole[:, :-1], K), np.ascontiguousarray(whole[:, -1]).view("<f4")


def panels(packed: Words, isa: Isa) -> Words:
    """uint32[m, words] -> [M/R, words, R, C], M = m rounded up to a multiple of 16, missing rows zero."""
    whole = np.zeros((-(-len(packed) // BLOCK) * BLOCK, packed.shape[1]), np.uint32)
    whole[: len(packed)] = packed
    blocked = whole.reshape(-1, rows(isa), packed.shape[1]).transpose(0, 2, 1)
    return np.repeat(blocked[..., None], copies(isa), axis=-1)


def row_words(packed: Words, isa: Isa) -> Words:
    """uint32[words] of one row -> [words, C], as a GEMV reads it."""
    return np.repeat(packed[:, None], copies(isa), axis=-1)
