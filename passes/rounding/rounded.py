"""A weight as numbers that are stored."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from edgeq.quant.simulate import QuantSpec
from edgeq.quant.values import dequantized


@dataclass(frozen=True)
class Rounded:
    """A weight `[N, K]` as stored: codes u8 `[N, K]`, scale f16 `[N, KG * numbers]`, zero points u8 or offsets f16
    `[N, KG]`, None when symmetric."""

    codes: Tensor
    scale: Tensor
    zero: Tensor | None

    def __getitem__(self, rows: Tensor) -> Rounded:
        """Rows of those numbers."""
        return Rounded(self.codes[rows], self.scale[rows], None if self.zero is None else self.zero[rows])

    def split(self, sizes: list[int]) -> list[Rounded]:
        """Parts of so many rows each."""
        zeros = [None] * len(sizes) if self.zero is None else self.zero.split(sizes)
        return [Rounded(*part) for part in zip(self.codes.split(sizes), self.scale.split(sizes), zeros, strict=True)]

    def values(self, quant: QuantSpec) -> Tensor:
        """f32 `[N, K]` that the stored numbers stand for."""
        if quant.kind != "int":
            return dequantized(self.codes, self.scale, self.zero, quant.format)
        columns = self.codes.shape[1]
        size = min(quant.group_size or columns, columns)

        def wide(groups: Tensor) -> Tensor:
            return groups.float().repeat_interleave(size, 1)[:, :columns]

        zero = quant.grid.zero_point if self.zero is None else wide(self.zero)
        return (self.codes.float() - zero) * wide(self.scale)
