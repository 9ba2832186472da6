"""Weight formats: what the bytes of a packed weight mean. The one description that everything else reads.

A weight `[N, K]` is stored in tiles of 16 rows. A tile is a list of blocks; a block is 2 groups (symmetric) or 4
(asymmetric):

    group 0 vectors | group 1 vectors | ... | scale line(s) | zero line (asymmetric only)

A vector is 64 bytes: 16 rows x 4 consecutive k; byte `b` is row `b // 4`, k `b % 4` of its quad. At 8 bits a group of
L weights is L/4 vectors; at 4 bits L/8, low nibbles holding the group's first half and high nibbles its second half.
A scale line is 64 bytes, the fp16 scales of two groups (16 each, row by row); the zero line holds the uint8 zero points
of up to four groups. The last block may hold fewer groups, but its lines are whole, and the last group may be shorter.
Codes are unsigned: `w = (code - zero) * scale`, zero = 8 or 128 when symmetric. Float formats are `[N/16][K][16]`.

Formats of 2 and 3 bits have no kernel yet and no layout: they can be simulated, and their bytes are what they hold
(codes, fp16 scales, uint8 zero points).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from edgeq.errors import UnsupportedError, UsageError

TILE_ROWS = 16
VECTOR_BYTES = 64
K_MULTIPLE = 16
GROUP_SIZES = (32, 64, 128, 256)
KNOWN = "w4, w8 (per-channel), w4g32, w8g128, ... (groups of 32, 64, 128, 256; a final `a`: asymmetric), f16, f32"
INTEGER_BITS = (2, 3, 4, 8)
KERNEL_BITS = (4, 8, 16, 32)


class GroupOffsets(NamedTuple):
    """Byte offsets, inside one tile, of a group's vectors, its 16 fp16 scales and its 16 uint8 zero points.

    `zero` is -1 in a symmetric format, which stores none.
    """

    vectors: int
    scale: int
    zero: int


@dataclass(frozen=True)
class WeightFormat:
    """How a weight `[N, K]` is stored.

    Attributes:
        bits: 2, 3, 4 or 8 (integer codes), 16 or 32 (floats).
        group_size: weights of a row that share a scale; 0 = the whole row (per-channel) or a float format.
        symmetric: the zero point is fixed in the middle; otherwise each group stores its own.
    """

    bits: int
    group_size: int = 0
    symmetric: bool = True

    def __post_init__(self) -> None:
        if self.bits not in (*INTEGER_BITS, 16, 32):
            raise UsageError(f"weights of {self.bits} bits are not known; known: {KNOWN}")
        if self.is_float and (self.group_size or not self.symmetric):
            raise UsageError(f"f{self.bits} weights have no groups and no zero points; known: {KNOWN}")
        if self.group_size and self.group_size not in GROUP_SIZES:
            raise UsageError(f"group size {self.group_size} is not known; known: {', '.join(map(str, GROUP_SIZES))}")

    @classmethod
    def parse(cls, text: str) -> WeightFormat:
        """`"w4g32"`, `"w4g128a"`, `"w8"`, `"f16"` -> format; raises UsageError that lists what is known."""
        if text in ("f16", "f32"):
            return cls(int(text[1:]))
        match = re.fullmatch(r"w(\d+)(?:g([1-9]\d*))?(a?)", text)
        if not match or int(match[1]) not in INTEGER_BITS:
            raise UsageError(f"weight format {text!r} is not known; known: {KNOWN}")
        return cls(int(match[1]), int(match[2] or 0), not match[3])

    def __str__(self) -> str:
        if self.is_float:
            return f"f{self.bits}"
        group = f"g{self.group_size}" if self.group_size else ""
        return f"w{self.bits}{group}{'' if self.symmetric else 'a'}"

    @property
    def is_float(self) -> bool:
        """True of f16 and f32: values are stored as they are, without codes and scales."""
        return self.bits >= 16

    @property
    def has_kernel(self) -> bool:
        """False of 2 and 3 bits, which are simulated only."""
        return self.bits in KERNEL_BITS

    @property
    def zero_point(self) -> int | None:
        """The code that means 0: the middle one (8 at 4 bits); None of asymmetric (stored) and float formats."""
        return 1 << (self.bits - 1) if self.symmetric and not self.is_float else None

    @property
    def block_groups(self) -> int:
        """Groups in a whole block: 2 symmetric, 4 asymmetric."""
        return 2 if self.symmetric else 4

    def check_width(self, K: int) -> None:
        """Raise UnsupportedError unless `K` input channels can be stored (a positive multiple of 16)."""
        if K <= 0 or K % K_MULTIPLE:
            raise UnsupportedError(f"{self}: a weight with {K} input channels; need a multiple of {K_MULTIPLE}")

    def groups(self, K: int) -> int:
        """Number of groups in a row of `K` weights (0 of a float format)."""
        self.check_width(K)
        return 0 if self.is_float else -(-K // (self.group_size or K))

    def group_bounds(self, K: int) -> list[tuple[int, int]]:
        """`[start, end)` of each group in k; the last may be shorter than the others."""
        size = self.group_size or K
        return [(g * size, min(K, (g + 1) * size)) for g in range(self.groups(K))]

    def vectors(self, length: int) -> int:
        """64-byte vectors of one group of `length` weights (16 rows); UnsupportedError of a format without kernel."""
        if not self.has_kernel:
            raise UnsupportedError(f"{self}: weights of {self.bits} bits have no kernel yet, and no stored layout")
        return length * self.bits * TILE_ROWS // (8 * VECTOR_BYTES)

    def block_bytes(self, K: int) -> int:
        """Bytes from one whole block of whole groups to the next."""
        vectors = self.block_groups * self.vectors(self.group_size or K)
        return (vectors + self._lines(self.block_groups)) * VECTOR_BYTES

    def offsets(self, K: int) -> list[GroupOffsets]:
        """Where each group of a row of `K` weights lies inside its tile (empty of a float format)."""
        return self._walk(K)[0]

    def tile_bytes(self, K: int) -> int:
        """Bytes of 16 rows of `K` weights; a multiple of 64 where there is a kernel."""
        if self.is_float:
            self.check_width(K)
            return K * TILE_ROWS * self.bits // 8
        if not self.has_kernel:
            numbers = 2 if self.symmetric else 3  # bytes of a group's scale and zero point
            return K * TILE_ROWS * self.bits // 8 + self.groups(K) * TILE_ROWS * numbers
        return self._walk(K)[1]

    def nbytes(self, N: int, K: int) -> int:
        """Bytes of a packed weight `[N, K]`, its rows padded to a multiple of 16."""
        return -(-N // TILE_ROWS) * self.tile_bytes(K)

    def bits_per_weight(self, K: int) -> float:
        """Stored bits a weight, scales, zero points and unused parts of lines included (padding rows are not)."""
        return self.tile_bytes(K) * 8 / (TILE_ROWS * K)

    def _lines(self, groups: int) -> int:
        """Lines that follow the vectors of a block of `groups` groups: scales, then zero points."""
        return -(-groups // 2) + (not self.symmetric)

    def _walk(self, K: int) -> tuple[list[GroupOffsets], int]:
        """Offsets of every group, and where the tile ends."""
        lengths = [end - start for start, end in self.group_bounds(K)]
        found: list[GroupOffsets] = []
        at = 0
        for first in range(0, len(lengths), self.block_groups):
            block = lengths[first : first + self.block_groups]
            starts = [at + sum(map(self.vectors, block[:j])) * VECTOR_BYTES for j in range(len(block))]
            scales = starts[-1] + self.vectors(block[-1]) * VECTOR_BYTES
            at = scales + self._lines(len(block)) * VECTOR_BYTES
            zeros = at - VECTOR_BYTES
            for j, start in enumerate(starts):
                zero = -1 if self.symmetric else zeros + j * TILE_ROWS
                found.append(GroupOffsets(start, scales + j * 2 * TILE_ROWS, zero))
        return found, at
