"""Weight formats: what the bytes of a packed weight mean. The one description that everything else reads.

A weight `[N, K]` is stored in tiles of 16 rows. A tile is a list of blocks; a block is a few groups (`block_groups`):

    group 0 vectors | group 1 vectors | ... | scale line(s) | zero line(s), where a format has zero points or offsets

A vector is 64 bytes: 16 rows x 4 consecutive k; byte `b` is row `b // 4`, k `b % 4` of its quad. Below 8 bits a byte
holds fields of several quads (`layout.py`): at 4 bits a group of L weights is L/8 vectors, low nibbles holding its
first half and high nibbles its second half. Scale lines hold the fp16 scales, 16 a group, row by row (of formats with
several numbers a group, 16 of each; of `mxfp4` bytes E8M0); zero lines the uint8 zero points or the fp16 offsets. The
last block may hold fewer groups, but its lines are whole, and the last group may be shorter. What codes mean is in
`kinds.py`. Float formats are `[N/16][K][16]`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from edgeq.errors import UnsupportedError, UsageError
from edgeq.quant.kinds import KINDS, NAMES, OFFSETS, PLANES, TEXTS, Kind
from edgeq.quant.layout import Piece, pieces, vectors_of
from edgeq.quant.sparse import vectors as sparse_vectors

TILE_ROWS = 16
VECTOR_BYTES = 64
K_MULTIPLE = 16
GROUP_SIZES = (32, 64, 128, 256)
STORED_GROUPS = (16, *GROUP_SIZES)  # 16: only of codes that others chose (GGUF's Q2_K, Q3_K, Q6_K)
INTEGER_BITS = (2, 3, 4, 8)
KNOWN = (
    "w2, w3, w4, w8 (per-channel), w4g32, w8g128, ... (groups of 32, 64, 128, 256; a final `a`: asymmetric, `m`: with "
    f"offsets), {', '.join(NAMES)} (each with a group size), f16, f32"
)


class GroupOffsets(NamedTuple):
    """Byte offsets, inside one tile, of a group's vectors, its scales and its 16 zero points (or offsets).

    Of several numbers a group, each has 16 of its own, one kind after the other. `zero` is -1 in a format without.
    """

    vectors: int
    scale: int
    zero: int


@dataclass(frozen=True)
class WeightFormat:
    """How a weight `[N, K]` is stored.

    Attributes:
        bits: of a code, 1 to 4 or 8; 16 or 32 (floats).
        group_size: weights of a row that share a scale; 0 = the whole row (per-channel) or a float format.
        symmetric: nothing beside scales is stored; otherwise each group has a zero point, or an offset.
        kind: what codes mean (`kinds.py`).
    """

    bits: int
    group_size: int = 0
    symmetric: bool = True
    kind: str = "int"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"weights of kind {self.kind!r} are not known; known: {', '.join(KINDS)}")
        if self.bits not in ((self.meaning.bits,) if self.meaning.bits else (*INTEGER_BITS, 16, 32)):
            raise UsageError(f"{self.kind} weights of {self.bits} bits are not known; known: {KNOWN}")
        if self.is_float and (self.group_size or not self.symmetric or self.kind != "int"):
            raise UsageError(f"f{self.bits} weights have no groups and no zero points; known: {KNOWN}")
        if self.has_offsets if self.symmetric else not (self.kind == "int" or self.has_offsets):
            have = "need" if self.has_offsets else "have no"
            raise UsageError(f"{self.kind} weights {have} zero points or offsets")
        if self.group_size and self.group_size not in STORED_GROUPS:
            raise UsageError(f"group size {self.group_size} is not known; known: {', '.join(map(str, STORED_GROUPS))}")
        if self.meaning.groups and self.group_size not in self.meaning.groups:
            sizes = ", ".join(map(str, self.meaning.groups))
            raise UsageError(f"{self.kind} weights come in groups of {sizes}, not {self.group_size or 'a whole row'}")

    @classmethod
    def parse(cls, text: str) -> WeightFormat:
        """`"w4g32"`, `"w4g128a"`, `"t2g128"`, `"w8"`, `"f16"` -> format; UsageError that lists what is known.

        Without a group size: per-channel, but `mxfp4` has groups of 32.
        """
        if text in ("f16", "f32"):
            return cls(int(text[1:]))
        match = re.fullmatch(r"([a-z]+\d(?:\.\d|[etz]\d|fp4)?|mxfp4)(?:g([1-9]\d*))?([am]?)", text)
        if not match or not (match[1] in NAMES or match[1] in {f"w{bits}" for bits in INTEGER_BITS}):
            raise UsageError(f"weight format {text!r} is not known; known: {KNOWN}")
        return cls.named(match[1], int(match[2] or 0), match[3])

    @classmethod
    def named(cls, name: str, group_size: int, suffix: str = "") -> WeightFormat:
        """`("w4", 64, "a")`, `("nf4", 64)`: name, group size (0: per-channel), `a` asymmetric, `m` with offsets."""
        base = NAMES.get(name, "int")
        kind = OFFSETS.get(base, base) if suffix == "m" else base
        if KINDS[kind].groups and not group_size:
            group_size = KINDS[kind].default_group
        return cls(KINDS[kind].bits or int(name[1:]), group_size, not suffix, kind)

    def __str__(self) -> str:
        if self.is_float:
            return f"f{self.bits}"
        group = f"g{self.group_size}" if self.group_size and self.kind != "mx" else ""
        return f"{self.name}{group}{'' if self.symmetric else 'm' if self.has_offsets else 'a'}"

    @property
    def name(self) -> str:
        """The text without group size: `w4`, `t1.6`, `nf4`."""
        return TEXTS.get(self.kind, f"w{self.bits}")

    @property
    def meaning(self) -> Kind:
        """What this kind of format stores."""
        return KINDS[self.kind]

    @property
    def has_offsets(self) -> bool:
        """Whether each group has an fp16 number that is taken off its values."""
        return self.kind in OFFSETS.values()

    @property
    def levels(self) -> tuple[int, ...] | None:
        """What each code stands for, times the scale; None of formats that follow a rule."""
        return self.meaning.levels

    @property
    def codes(self) -> int:
        """How many codes there are."""
        return len(self.levels) if self.levels else 1 << self.bits

    @property
    def planes(self) -> tuple[int, ...]:
        """Widths of the planes that codes are split into."""
        return self.meaning.planes or PLANES[self.bits]

    @property
    def is_float(self) -> bool:
        """True of f16 and f32: values are stored as they are, without codes and scales."""
        return self.bits >= 16

    @property
    def float_only(self) -> bool:
        """Whether activations must stay in float (fp8, and weights that are floats themselves)."""
        return self.is_float or self.meaning.float_only

    @property
    def zero_point(self) -> int | None:
        """What is added to a level to make it an unsigned byte: the code that means 0 (8 at 4 bits), `-min(levels)`.

        None of formats that store zero points or offsets, of floats, and of rules without one.
        """
        if self.levels:
            return -min(self.levels)
        middle = self.meaning.sparse or (self.kind == "int" and self.symmetric and not self.is_float)
        return 1 << (self.bits - 1) if middle else None

    @property
    def block_groups(self) -> int:
        """Groups in a whole block: a line of 64 bytes holds the zero points of 4, or their E8M0 scales."""
        return 4 if (not self.symmetric and self.kind == "int") or self.meaning.scale_bytes == 1 else 2

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
        """64-byte vectors of one group of `length` weights (16 rows)."""
        if self.meaning.sparse:
            return sparse_vectors(self.bits, length)
        return sum(vectors_of(width, length // 4) for width in self.planes)

    def pieces(self, length: int) -> tuple[Piece, ...]:
        """Which of those vectors hold which quads (planes one after the other), as runs of steps."""
        return pieces(self.planes, length // 4)

    def block_bytes(self, K: int) -> int:
        """Bytes from one whole block of whole groups to the next."""
        vectors = self.block_groups * self.vectors(self.group_size or K)
        return (vectors + sum(self._lines(self.block_groups))) * VECTOR_BYTES

    def offsets(self, K: int) -> list[GroupOffsets]:
        """Where each group of a row of `K` weights lies inside its tile (empty of a float format)."""
        return self._walk(K)[0]

    def tile_bytes(self, K: int) -> int:
        """Bytes of 16 rows of `K` weights; a multiple of 64 of a format with codes."""
        if self.is_float:
            self.check_width(K)
            return K * TILE_ROWS * self.bits // 8
        return self._walk(K)[1]

    def nbytes(self, N: int, K: int) -> int:
        """Bytes of a packed weight `[N, K]`, its rows padded to a multiple of 16."""
        return -(-N // TILE_ROWS) * self.tile_bytes(K)

    def bits_per_weight(self, K: int) -> float:
        """Stored bits a weight, scales, zero points and unused parts of lines included (padding rows are not)."""
        return self.tile_bytes(K) * 8 / (TILE_ROWS * K)

    @property
    def zero_type(self) -> str:
        """numpy's and torch's name of the type of zero points, or of offsets."""
        return "float16" if self.has_offsets else "uint8"

    @property
    def number_bytes(self) -> int:
        """Bytes of a group's scales (all its numbers) in a tile."""
        return self.meaning.numbers * self.meaning.scale_bytes * TILE_ROWS

    @property
    def zero_bytes(self) -> int:
        """Bytes of a group's zero points or offsets in a tile."""
        return 0 if self.symmetric else TILE_ROWS * (2 if self.has_offsets else 1)

    def _lines(self, groups: int) -> tuple[int, int]:
        """Lines that follow the vectors of a block of `groups` groups: of scales, of zero points."""
        return -(-groups * self.number_bytes // VECTOR_BYTES), -(-groups * self.zero_bytes // VECTOR_BYTES)

    def _walk(self, K: int) -> tuple[list[GroupOffsets], int]:
        """Offsets of every group, and where the tile ends."""
        lengths = [end - start for start, end in self.group_bounds(K)]
        found: list[GroupOffsets] = []
        at = 0
        for first in range(0, len(lengths), self.block_groups):
            block = lengths[first : first + self.block_groups]
            starts = [at + sum(map(self.vectors, block[:j])) * VECTOR_BYTES for j in range(len(block))]
            scales = starts[-1] + self.vectors(block[-1]) * VECTOR_BYTES
            scale_lines, zero_lines = self._lines(len(block))
            zeros = scales + scale_lines * VECTOR_BYTES
            at = zeros + zero_lines * VECTOR_BYTES
            for j, start in enumerate(starts):
                zero = zeros + j * self.zero_bytes if zero_lines else -1
                found.append(GroupOffsets(start, scales + j * self.number_bytes, zero))
        return found, at
