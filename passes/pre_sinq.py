"""Weights with columns of equal spread: what one column has too much of moves into what makes its activation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, fx

from edgeq.errors import UsageError
from edgeq.ir.graph import arguments
from edgeq.ir.values import Reads, weight_value
from edgeq.passes.folds.calibrated import decision_name
from edgeq.passes.folds.fold_points import FoldPoint, fold_points
from edgeq.passes.folds.folding import fold, part_norms
from edgeq.passes.pass_ import Context, Pass, Report, Site

LOG_LOW, LOG_HIGH = -0.3, 10.0  # of a factor's logarithm
STEP_LOW, STEP_HIGH = 0.7, 2.0  # of one iteration's factor
FLAT = 1e-6  # relative spread of a scale that changes nothing worth a multiplication


@dataclass(frozen=True)
class PreSinq(Pass):
    """Divide column j of W by a factor `c_j` that evens out the columns' standard deviations, multiply x_j by it.

    SINQ (arXiv 2509.22944) scales rows and columns by turns until both spread alike (Sinkhorn); row factors go into the
    quantizer's scales. Here the column factors, divided by their tile's median, fold into what makes the activation (a
    norm, v's rows, up's rows), so that nothing is left to do at run time. Needs no samples. An equivalence.

    Attributes:
        iterations: of row and column scaling in one tile.
        rounds: over points that share a weight (up is scaled by its own columns and by down's), each starting from the
            weights as the others left them.
        group: columns of a tile, equalised among themselves; 0: all columns.
    """

    name: ClassVar[str] = "pre-sinq"
    iterations: int = 16
    rounds: int = 4
    group: int = 64

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.rounds < 1 or self.group < 0:
            raise UsageError(f"{self}: iterations and rounds are positive, group is 0 or positive")

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Fold at every fold point; UsageError without weights (a graph that came from text has none)."""
        if context.weights is None:
            raise UsageError("the pass pre-sinq looks at weights: it needs a model, not a graph from text")
        part_norms(gm)
        points, declined = fold_points(gm)
        changed: list[Site] = []
        for cluster in clusters(points):
            changed += self._fold(gm, cluster, context)
        return Report(str(self), tuple(changed), tuple(declined))

    def _fold(self, gm: fx.GraphModule, cluster: list[FoldPoint], context: Context) -> list[Site]:
        name = decision_name(self, context)
        kept = [context.decisions.get(name, point.key) for point in cluster]
        known = [one for one in kept if one is not None]
        if len(known) < len(cluster):
            found = self._solve(cluster, context.weights)
            known = [{"scale": scale, "imbalance": torch.tensor(ratios)} for scale, ratios in found]
            for point, decision in zip(cluster, known, strict=True):
                context.decisions.put(name, point.key, decision)
        sites = []
        for point, decision in zip(cluster, known, strict=True):
            scale, (before, after) = decision["scale"], decision["imbalance"].tolist()
            if scale.max() / scale.min() > 1 + FLAT:
                fold(gm, point, scale)
            what = f"scales {scale.min():.3g}..{scale.max():.3g}, imbalance {before:.3g} -> {after:.3g}"
            sites.append(Site(point.module, what))
        return sites

    def _solve(self, cluster: list[FoldPoint], weights: Reads) -> list[tuple[Tensor, tuple[float, float]]]:
        """A scale `[K / repeat]` a point, and the imbalance of its weights before and after."""
        state = _Weights(cluster, weights)
        before = [state.imbalance(point, self.group) for point in cluster]
        for _ in range(self.rounds):
            for point in cluster:
                factors = column_factors(state.joined(point), self.iterations, self.group)
                state.scale(point, torch.exp(point.share(-factors.log(), "mean")))
        for point, was in zip(cluster, before, strict=True):
            if state.imbalance(point, self.group) > was:
                state.undo(point)
        after = [state.imbalance(point, self.group) for point in cluster]
        return [(state.scales[p.key], (b, a)) for p, b, a in zip(cluster, before, after, strict=True)]


@dataclass
class _Weights:
    """The weights of a cluster's linears as they are after the scales found so far."""

    cluster: list[FoldPoint]
    source: Reads
    values: dict[fx.Node, Tensor] = field(default_factory=dict)
    scales: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for point in self.cluster:
            for linear in point.consumers:
                if linear not in self.values:
                    self.values[linear] = weight_value(arguments(linear)["weight"], self.source).clone()
            self.scales[point.key] = torch.ones(point.channels // point.repeat)

    def joined(self, point: FoldPoint) -> Tensor:
        return torch.cat([self.values[linear] for linear in point.consumers])

    def imbalance(self, point: FoldPoint, group: int) -> float:
        return imbalance(self.joined(point), group)

    def scale(self, point: FoldPoint, scale: Tensor) -> None:
        self.scales[point.key] = self.scales[point.key] * scale
        for linear in point.consumers:
            self.values[linear] *= point.spread(scale)
        if point.producer in self.values:
            self.values[point.producer] /= scale[:, None]

    def undo(self, point: FoldPoint) -> None:
        self.scale(point, 1 / self.scales[point.key])
        self.scales[point.key] = torch.ones_like(self.scales[point.key])


def clusters(points: list[FoldPoint]) -> Iterator[list[FoldPoint]]:
    """Points in groups that share linears: v's rows belong to one point, its columns to another."""
    left = list(points)
    while left:
        cluster = [left.pop(0)]
        for point in cluster:
            near = [other for other in left if _linears(other) & _linears(point)]
            cluster += near
            left = [other for other in left if other not in near]
        yield cluster


def _linears(point: FoldPoint) -> set[fx.Node]:
    return {point.producer, *point.consumers}


def imbalance(weight: Tensor, group: int = 64) -> float:
    """Largest over smallest standard deviation of columns once all rows have one; f32 `[N, K]`, mean over tiles."""
    ratios = []
    for tile in _tiles(weight, group):
        columns = _spreads(tile / _spreads(tile)[0][:, None])[1]
        ratios.append((columns.max() / columns.min()).item())
    return sum(ratios) / len(ratios)


def column_factors(weight: Tensor, iterations: int = 16, group: int = 64) -> Tensor:
    """Factors f32 `[K]` that columns of `weight` f32 `[N, K]` are to be divided by; all 1 where nothing is gained.

    A tile's have median 1: how large they are as a whole is arbitrary, since its row factors would make up for it.
    """
    found = [_tile_factors(tile, iterations) for tile in _tiles(weight, group)]
    return torch.cat([factors / factors.median() for factors in found])


def _tiles(weight: Tensor, group: int) -> tuple[Tensor, ...]:
    return weight.split(group or weight.shape[1], dim=1)


def _tile_factors(tile: Tensor, iterations: int) -> Tensor:
    """SINQ's dual scaling in logarithms; the column factors of the iteration of least imbalance."""
    rows, columns = _spreads(tile)
    target = min(rows.min(), columns.min()).clamp(1e-3, 1e3)
    log_rows, log_columns = torch.zeros_like(rows), torch.zeros_like(columns)
    best, least = log_columns, _ratio(rows, columns)
    for _ in range(iterations):
        log_columns = _step(log_columns, columns, target)
        log_rows = _step(log_rows, rows, target)
        rows, columns = _spreads(tile / (log_rows.exp()[:, None] * log_columns.exp()))
        found = _ratio(rows, columns)
        if not found < least:
            break
        best, least = log_columns, found
    return best.exp()


def _step(logs: Tensor, spreads: Tensor, target: Tensor) -> Tensor:
    return (logs + (spreads / target).clamp(STEP_LOW, STEP_HIGH).log()).clamp(LOG_LOW, LOG_HIGH)


def _spreads(tile: Tensor) -> tuple[Tensor, Tensor]:
    """Standard deviations of rows and of columns; those of zeros alone count as the mean, so that they stay."""
    return _nonzero(tile.std(1, correction=0)), _nonzero(tile.std(0, correction=0))


def _nonzero(spread: Tensor) -> Tensor:
    used = spread > 0
    return torch.where(used, spread, spread[used].mean() if used.any() else torch.ones(()))


def _ratio(rows: Tensor, columns: Tensor) -> float:
    return (max(rows.max(), columns.max()) / min(rows.min(), columns.min())).item()
