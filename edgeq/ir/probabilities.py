"""Grids of attention's probabilities: logarithmic ones (AGQ of PTQ4SAM, CVPR 2024) and even ones.

`"log2:b:t"`: code c < 2^b - 1 means `s * 2^(-c/t)`, the last code is exactly zero (the published quantizer has one more
value than codes). A larger granularity t is finer near s, a smaller one reaches nearer to zero. `"int<b>"`: code c
means `s * c / top`. Here s, the `probs_scale` of `edgeq.attention`, is the largest value that a grid holds.

A product with int8 values needs each level as an integer. `2^(-c/t) = 2^(r/t) * 2^(-n)`: a table of t entries first,
then a shift of 128 by n, rounded to an integer that keeps at least 4 guard bits (exact where t is 1). What a shift of
128 cannot hold belongs to a second plane with a multiplier of its own; every code is nonzero in one plane at most, so
that a plane's sums are plain integer dot products of bytes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property

from edgeq.errors import VerifyError

TOP = 128  # a plane's largest level: two products with int8 fit in 16 bits
_GUARDED = 8  # a rounded level keeps 4 guard bits: its error is at most 1/16 of itself
KNOWN = "log2:b:t (b in 2, 3, 4 bits; t in 1, 2, 4), int2 ... int8"


@dataclass(frozen=True)
class Plane:
    """Codes whose levels are `multiplier * table[code]`; table: one integer 0..128 for each of 16 codes."""

    table: tuple[int, ...]
    multiplier: float


@dataclass(frozen=True)
class ProbabilityGrid:
    """One grid. bits: of a code; tau: granularity of a logarithmic one, 0 of an even one."""

    bits: int
    tau: int = 0

    @classmethod
    def parse(cls, text: str) -> ProbabilityGrid:
        """`"log2:4:2"` or `"int8"`; raises VerifyError that lists what is known."""
        match = re.fullmatch(r"log2:([234]):([124])|int([2-8])", text)
        if not match:
            raise VerifyError(f"a grid of probabilities {text!r} is not known; known: {KNOWN}")
        return cls(int(match[3])) if match[3] else cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"log2:{self.bits}:{self.tau}" if self.tau else f"int{self.bits}"

    @property
    def last(self) -> int:
        """The largest code: zero of a logarithmic grid; of an even one the top, 127 at 8 bits (a signed byte)."""
        return 127 if self.bits == 8 else (1 << self.bits) - 1

    @cached_property
    def planes(self) -> tuple[Plane, ...]:
        """Of a logarithmic grid, its levels as integers; none of an even one, whose codes are integers."""
        if not self.tau:
            return ()
        groups: list[list[int]] = [[]]
        for code in range(self.last):
            if groups[-1] and not self._holds(code - groups[-1][0]):
                groups.append([])
            groups[-1].append(code)
        return tuple(self._plane(codes) for codes in groups)

    def _exact(self, steps: int) -> float:
        return TOP * 2.0 ** (-steps / self.tau)

    def _holds(self, steps: int) -> bool:
        exact = self._exact(steps)
        return exact >= (1 if self.tau == 1 else _GUARDED)

    def _plane(self, codes: list[int]) -> Plane:
        levels = {code: math.floor(self._exact(code - codes[0]) + 0.5) for code in codes}
        return Plane(tuple(levels.get(code, 0) for code in range(16)), 2.0 ** (-codes[0] / self.tau) / TOP)

    @cached_property
    def levels(self) -> tuple[float, ...]:
        """What each code means, in units of s."""
        if not self.tau:
            return tuple(code / self.last for code in range(self.last + 1))
        codes = range(self.last + 1)
        return tuple(sum(plane.multiplier * plane.table[code] for plane in self.planes) for code in codes)
