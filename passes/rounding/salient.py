"""BiLLM's rounding: which columns are salient, tables of the others, and GPTQ's errors over both."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

import torch
from torch import Tensor

from edgeq.passes.rounding.hessian import inverse_factor
from edgeq.passes.rounding.permuted import GROUP, STEP, format_of_kind, padded_order, stored_bits
from edgeq.quant import codebooks
from edgeq.quant.stored_scale import stored_scale

SEARCHED_ROWS, SEARCHED_QUANTILES = 64, 5  # of a weight, and of splits, while the number of columns is searched
Bounds = list[tuple[int, int, bool]]  # of groups in the order of rounding: first column, end, salient


@dataclass(frozen=True)
class Salient:
    """Options of the pass `billm`."""

    damp: float
    structured: bool
    inner: bool
    quantiles: int
    rounds: int
    most: float


@dataclass(frozen=True)
class Found:
    """Codes u8 `[N, K']`, scale f16 as stored, index i32 `[K']`; how many columns are salient; bits a weight."""

    codes: Tensor
    scale: Tensor
    index: Tensor
    salient: int
    bits: float
    damp: float


def round_salient(weight: Tensor, matrix: Tensor, settings: Salient, name: str) -> Found | None:
    """Round a weight f32 `[N, K]`; matrix f32 `[K, K]`: moments of its input. None when no damping inverts them.

    Raises UnsupportedError when a magnitude does not fit fp16.
    """
    factor = inverse_factor(matrix, settings.damp)
    if factor is None:
        return None
    cost = factor.upper.diagonal().square().reciprocal()
    ranked = (weight.square().sum(0) * cost).argsort(descending=True, stable=True)  # S = w^2 / U_jj^2
    count = _how_many(weight, ranked, cost, settings, name)
    salient, rest = _parts(weight, ranked, cost, count, settings)
    order = torch.cat([salient, rest])
    factor = inverse_factor(matrix[order][:, order], settings.damp)
    if factor is None:
        return None
    bounds = _bounds(len(salient), len(rest))
    rounding = _Rounding(settings, settings.quantiles, name)
    codes, tables = rounding.run(weight.T[order].contiguous(), factor.upper, bounds)
    fmt = format_of_kind(settings.structured)
    stored, scale, index = _stored(codes, tables, bounds, salient, rest, settings.structured)
    bits = stored_bits(index, len(weight), weight.shape[1], fmt)
    return Found(stored, scale, index, count, bits, factor.damp)


def _parts(weight: Tensor, ranked: Tensor, cost: Tensor, count: int, settings: Salient) -> tuple[Tensor, Tensor]:
    """Columns of the salient part and of the rest, each in the order in which it is stored."""
    salient, rest = ranked[:count].sort().values, ranked[count:].sort().values
    if settings.structured:  # columns of like magnitude share one
        rest = rest[weight[:, rest].abs().mean(0).argsort(descending=True, stable=True)]
    return salient, rest


def _bounds(salient: int, rest: int) -> Bounds:
    """Groups in the order of rounding: salient columns first, so that the others make up for them."""
    found = [(k, min(k + GROUP, salient), True) for k in range(0, salient, GROUP)]
    return found + [(k, min(k + GROUP, salient + rest), False) for k in range(salient, salient + rest, GROUP)]


def _how_many(weight: Tensor, ranked: Tensor, cost: Tensor, settings: Salient, name: str) -> int:
    """Salient columns of least weighed error, a bit a weight counting four times, without making up for errors."""
    rows, columns = weight.shape
    some = weight[torch.linspace(0, rows - 1, min(rows, SEARCHED_ROWS)).long()]
    fmt, best, least = format_of_kind(settings.structured), 0, float("inf")
    for count in _candidates(columns, settings.most):
        salient, rest = _parts(weight, ranked, cost, count, settings)
        order = torch.cat([salient, rest])
        rounding = _Rounding(settings, min(settings.quantiles, SEARCHED_QUANTILES), name)
        error = sum(
            float(rounding.error(some[:, order[start:end]], cost[order[start:end]], own))
            for start, end, own in _bounds(len(salient), len(rest))
        )
        index = _index(salient, rest, settings.structured)
        judged = log2(max(error, 1e-30)) + 2 * stored_bits(index, rows, columns, fmt)
        if judged < least:
            best, least = count, judged
    return best


def _candidates(columns: int, most: float) -> list[int]:
    """Numbers of salient columns: 0, few, and those that leave whole groups."""
    top = int(columns * most) // STEP * STEP
    few = {count for count in (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024) if count <= top}
    return sorted({0} | few | ({columns % GROUP} if columns % GROUP <= top else set()))


def _index(salient: Tensor, rest: Tensor, structured: bool) -> Tensor:
    parts = [rest, salient, salient] if structured else [rest, salient]
    return padded_order([part for part in parts if len(part)])


class _Rounding:
    """Groups fitted and rounded, one after the other."""

    def __init__(self, settings: Salient, quantiles: int, name: str) -> None:
        self._settings, self._quantiles, self._name = settings, quantiles, name

    def run(self, work: Tensor, upper: Tensor, bounds: Bounds) -> tuple[Tensor, list[Tensor]]:
        """Columns f32 `[K, N]` in the order of rounding, changed -> codes u8 `[K, N]`, numbers f16 `[N, n]` a group."""
        codes, numbers, scales = torch.zeros_like(work, dtype=torch.uint8), [], upper.diagonal()
        for start, end, salient in bounds:
            own = slice(start, end)
            fitted = self.fit(work[own].T, scales[own].square().reciprocal(), salient)
            numbers.append(fitted)
            table = self.table(fitted, salient)
            errors = work.new_zeros(end - start, work.shape[1])
            for i in range(start, end):
                made, before = errors[: i - start], slice(start, i)
                column = torch.addmv(work[i], made.T, upper[before, i], alpha=-1) if self._settings.inner else work[i]
                codes[i] = codebooks.nearest(column.unsqueeze(-1), table).squeeze(-1)
                left = column - codebooks.values(codes[i].unsqueeze(-1), table).squeeze(-1)
                errors[i - start] = left / scales[i]
            work[end:].addmm_(upper[own, end:].T, errors, alpha=-1)
        return codes, numbers

    def error(self, group: Tensor, cost: Tensor, salient: bool) -> Tensor:
        """What a group f32 `[N, L]` loses by itself."""
        table = self.table(self.fit(group, cost, salient), salient)
        return ((group - codebooks.values(codebooks.nearest(group, table), table)).square() * cost).sum()

    def fit(self, group: Tensor, cost: Tensor, salient: bool) -> Tensor:
        """Numbers f16 `[N, n]` of a group f32 `[N, L]`: a table of four, or one magnitude, two of salient columns.

        Salient columns take the nearer of residual binarization and a split, row by row.
        """
        groups, cost = group.unsqueeze(1).contiguous(), cost.unsqueeze(0) / cost.mean()
        if self._settings.structured:
            found = _magnitudes(group, cost, self._settings.rounds) if salient else _magnitude(group, cost)
            return stored_scale(found, self._name)
        starts = [codebooks.split_start(groups, cost, self._quantiles)]
        starts += [codebooks.residual_start(groups, cost)] if salient else []
        found = [codebooks.refined(groups, start, self._settings.rounds, cost) for start in starts]
        errors = [self._squared(groups, numbers, cost) for numbers in found]
        best = torch.stack(found).gather(0, torch.stack(errors).argmin(0)[None, ..., None].expand(1, -1, -1, 4))
        return stored_scale(best[0], self._name).squeeze(1)

    @staticmethod
    def _squared(groups: Tensor, numbers: Tensor, cost: Tensor) -> Tensor:
        left = groups - codebooks.values(codebooks.nearest(groups, numbers), numbers)
        return (left.square() * cost).sum(-1)

    def table(self, numbers: Tensor, salient: bool) -> Tensor:
        """f32 `[N, 4]`, values of codes; with one sign the last two repeat, and are never nearer than the first."""
        if not self._settings.structured:
            return numbers.float()
        if not salient:
            a = numbers[:, 0].float()
            return torch.stack([-a, a, -a, a], -1)
        a, b = numbers.float().unbind(-1)
        return torch.stack([-a - b, a - b, b - a, a + b], -1)


def _magnitude(group: Tensor, cost: Tensor) -> Tensor:
    """f32 `[N, 1]`: weighed mean magnitude, the least-squares scale of signs."""
    return (group.abs() * cost).sum(-1, keepdim=True) / cost.sum()


def _magnitudes(group: Tensor, cost: Tensor, rounds: int) -> Tensor:
    """f32 `[N, 2]` of `a1 s1 + a2 s2`: residual binarization, then nearest signs and least squares in turns."""
    first = _magnitude(group, cost)
    found = torch.cat([first, _magnitude(group.abs() - first, cost)], -1)
    for _ in range(rounds):
        a, b = found.unbind(-1)
        table = torch.stack([-a - b, a - b, b - a, a + b], -1)
        codes = codebooks.nearest(group, table)
        s1, s2 = (codes & 1).float() * 2 - 1, (codes >> 1).float() * 2 - 1
        both, total = (s1 * s2 * cost).sum(-1), cost.sum()
        p1, p2 = (group * s1 * cost).sum(-1), (group * s2 * cost).sum(-1)
        det = total * total - both * both
        solved = torch.stack([p1 * total - p2 * both, p2 * total - p1 * both], -1) / det.clamp(min=1e-12).unsqueeze(-1)
        found = torch.where((det > 1e-6 * total * total).unsqueeze(-1), solved, found)
    return found


def _stored(
    codes: Tensor, numbers: list[Tensor], bounds: Bounds, salient: Tensor, rest: Tensor, structured: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Codes u8 `[N, K']`, scale f16 `[N, KG * numbers]` and index as stored: the rest, then salient columns."""
    count, rows = len(salient), codes.T
    own = [n for n, (_, _, is_salient) in zip(numbers, bounds, strict=True) if is_salient]
    others = [n for n, (_, _, is_salient) in zip(numbers, bounds, strict=True) if not is_salient]
    if structured:
        pieces = [rows[:, count:], rows[:, :count] & 1, rows[:, :count] >> 1]
        scales = [*others, *(n[:, :1] for n in own), *(n[:, 1:] for n in own)]
    else:
        pieces, scales = [rows[:, count:], rows[:, :count]], [*others, *own]
    index = _index(salient, rest, structured)
    kept = [piece for piece in pieces if piece.shape[1]]
    filled = [
        torch.nn.functional.pad(piece, (0, -piece.shape[1] % (STEP if last else GROUP)))
        for piece, last in zip(kept, [False] * (len(kept) - 1) + [True], strict=True)
    ]
    return torch.cat(filled, 1).contiguous(), torch.cat(scales, 1).contiguous(), index
