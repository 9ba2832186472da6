"""Groups whose codes are no plain integers, transposed: its columns are the rows that GPTQ works on."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.passes.rounding.rounded import Rounded
from edgeq.quant import codebooks
from edgeq.quant.fits import fit_of, nearest_level
from edgeq.quant.format import WeightFormat
from edgeq.quant.simulate import QuantSpec
from edgeq.quant.stored_scale import stored_scale

WEIGHTED = "weighted"
ROUNDS = 4  # of nearest levels and least squares, each from its own start
_STARTS = torch.linspace(0.6, 1.3, 15).tolist()  # of a scale, relative to that of least squared error
_FLOATS = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}


class GroupLevels:
    """As `group_ranges.GroupRanges`, of formats whose codes name levels of a table, planes, floats, or have offsets.

    `weighted` counts columns by what they cost; `fp8` and offsets cover every value whatever the method.

    Attributes:
        size: columns of a group; the last may be shorter.
    """

    def __init__(self, quant: QuantSpec, method: str, cost: Tensor, rows: int, name: str) -> None:
        columns = len(cost)
        self._fmt, self._method, self._cost, self._name = quant.format, method, cost, name
        self.size = min(quant.group_size or columns, columns)
        groups = -(-columns // self.size)
        self._scale = torch.zeros(groups, rows, self._fmt.meaning.numbers, dtype=torch.float16)
        self._zero = None if self._fmt.symmetric else torch.zeros(groups, rows, dtype=torch.float16)

    def fit(self, first: int, columns: Tensor) -> None:
        """Find the numbers of groups `first` and following from their weights f32 `[k, N]`; the last may be shorter.

        Raises UnsupportedError when one does not fit fp16.
        """
        for start in range(0, len(columns), self.size):
            group = first + start // self.size
            own = columns[start : start + self.size].T.unsqueeze(1).contiguous()
            cost = self._cost[group * self.size :][: own.shape[-1]].unsqueeze(0)
            scale, zero = self._find(own, cost)
            self._scale[group] = scale.reshape(len(own), -1)
            if self._zero is not None and zero is not None:
                self._zero[group] = zero.squeeze(1)

    def nearest(self, column: Tensor, group: int) -> Tensor:
        """Nearest code of f32 `[N]`, one weight a row, as a float."""
        return encode(column, self._scale[group].float(), self._offset(group), self._fmt).float()

    def subtract(self, column: Tensor, codes: Tensor, group: int) -> Tensor:
        """What is left of a column f32 `[N]` when what its codes stand for is taken off, in place."""
        return column.sub_(decode(codes.to(torch.uint8), self._scale[group].float(), self._offset(group), self._fmt))

    def rounded(self, codes: Tensor, groups: Tensor) -> Rounded:
        """The weight as stored, from its codes f32 `[K, N]`."""
        scale = self._scale.permute(1, 0, 2).flatten(1).contiguous()
        zero = None if self._zero is None else self._zero.T.contiguous()
        return Rounded(codes.to(torch.uint8).T.contiguous(), scale, zero)

    def _offset(self, group: int) -> Tensor | None:
        return None if self._zero is None else self._zero[group].float()

    def _find(self, group: Tensor, cost: Tensor) -> tuple[Tensor, Tensor | None]:
        """Numbers f16 and offset of one group f32 `[N, 1, L]`."""
        fit = fit_of(self._fmt)
        assert fit is not None, "plain integers have ranges"
        if self._method != WEIGHTED or self._fmt.kind in _FLOATS or self._fmt.has_offsets:
            return fit(group, self._fmt, self._method, self._name)[1:]
        if self._fmt.meaning.numbers > 1:
            start = codebooks.planes_start if self._fmt.kind == "planes" else codebooks.split_start
            numbers = codebooks.refined(group, start(group, cost), codebooks.ROUNDS, cost)
            return stored_scale(numbers, self._name), None
        return weighted_scale(group, self._fmt, cost, self._name), None


def encode(column: Tensor, numbers: Tensor, offset: Tensor | None, fmt: WeightFormat) -> Tensor:
    """Codes u8 `[N]` of the nearest values of f32 `[N]`; numbers f32 `[N, numbers]`, offset f32 `[N]` or None."""
    if fmt.meaning.numbers > 1:
        return codebooks.nearest(column.unsqueeze(-1), numbers).squeeze(-1)
    scale = numbers[:, 0]
    shifted = column if offset is None else column + offset
    ratio = torch.where(scale == 0, 0.0, shifted / torch.where(scale == 0, 1.0, scale))
    if fmt.kind in _FLOATS:
        largest = torch.finfo(_FLOATS[fmt.kind]).max
        return ratio.clamp(-largest, largest).to(_FLOATS[fmt.kind]).view(torch.uint8)
    if fmt.levels is None:
        return ratio.round_().clamp_(0, fmt.codes - 1).to(torch.uint8)
    return nearest_level(ratio, fmt.levels)


def decode(codes: Tensor, numbers: Tensor, offset: Tensor | None, fmt: WeightFormat) -> Tensor:
    """f32 `[N]` that codes u8 `[N]` stand for."""
    if fmt.meaning.numbers > 1:
        return codebooks.values(codes.unsqueeze(-1), numbers).squeeze(-1)
    if fmt.kind in _FLOATS:
        return codes.view(_FLOATS[fmt.kind]).float() * numbers[:, 0]
    levels = codes.float() if fmt.levels is None else torch.tensor(fmt.levels, dtype=torch.float32)[codes.long()]
    return levels * numbers[:, 0] if offset is None else levels * numbers[:, 0] - offset


def weighted_scale(groups: Tensor, fmt: WeightFormat, cost: Tensor, name: str) -> Tensor:
    """Scales f16 `[N, G]` of least `sum_j c_j (w_j - q_j)^2`, groups f32 `[N, G, L]` of a table, costs f32 `[G, L]`.

    Each start is followed by rounds of nearest levels and least-squares scales; powers of two are compared as they are.
    """
    assert fmt.levels is not None
    fit, levels = fit_of(fmt), torch.tensor(fmt.levels, dtype=torch.float32)
    assert fit is not None
    base = fit(groups, fmt, "mse", name)[1].float()
    powers = fmt.kind == "mx"
    best, least = base, torch.full(base.shape, torch.inf)
    for start in (0.5, 1.0, 2.0) if powers else _STARTS:
        scale = base * start
        for _ in range(0 if powers else ROUNDS):
            a = levels[nearest_level(_ratio(groups, scale), fmt.levels).long()]
            power = (a.square() * cost).sum(-1)
            scale = torch.where(power > 0, (groups * a * cost).sum(-1) / torch.where(power > 0, power, 1.0), scale)
        kept = stored_scale(scale, name).float()
        error = groups - levels[nearest_level(_ratio(groups, kept), fmt.levels).long()] * kept.unsqueeze(-1)
        total = (error.square() * cost).sum(-1)
        best, least = torch.where(total < least, kept, best), torch.minimum(total, least)
    return best.half()


def _ratio(groups: Tensor, scale: Tensor) -> Tensor:
    wide = scale.unsqueeze(-1)
    return torch.where(wide == 0, 0.0, groups / torch.where(wide == 0, 1.0, wide))
