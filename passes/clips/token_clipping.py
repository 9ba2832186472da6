"""Token-wise clipping, coarse: one ratio for every activation, chosen by what the model's outputs lose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from edgeq.calibrate.stream import stream
from edgeq.frontend.expression import evaluate
from edgeq.ir.graph import arguments, calls, is_weight, op, output, value
from edgeq.passes.clips.clipping import FLOOR, tokens_limit
from edgeq.passes.clips.spots import Spot, insert_range, remove_range, set_range

if TYPE_CHECKING:
    from edgeq.calibrate.blocks import Block
    from edgeq.calibrate.samples import Sample
    from edgeq.calibrate.stream import Captured
    from edgeq.passes.pass_ import Context

REACH = {8: 0.1, 7: 0.2, 6: 0.3, 5: 0.6}  # how far ratios go below 1; 0.9 at fewer bits
STEP, STEP_TOKENS = 0.01, 128 * 32  # ratios lie this far apart, closer with more tokens
SEEN_THROUGH = ("aten.reshape", "aten.squeeze", "aten.unsqueeze", "aten.tanh", "aten.div", "aten.mul")
CHUNK = 8192  # rows of a head that are read at a time


@dataclass(frozen=True, eq=False)
class Extremes:
    """Each token's largest and least value, f32 `[tokens]`."""

    high: Tensor
    low: Tensor

    @classmethod
    def of(cls, rows: Sequence[Tensor]) -> Extremes:
        """Of rows `[tokens, C]`, a tensor a sample."""
        return cls(torch.cat([part.amax(1) for part in rows]), torch.cat([part.amin(1) for part in rows]))


@dataclass(frozen=True, eq=False)
class Compared:
    """What of the outputs is compared: a node, or a wide linear through what it reads.

    `|W a - W b|^2 = (a - b)^T (W^T W) (a - b)`: the logits of a whole vocabulary need not be kept.
    """

    node: fx.Node
    gram: Tensor | None = None

    @property
    def shown(self) -> fx.Node:
        """The activation whose values are needed."""
        return self.node if self.gram is None else arguments(self.node)["input"]

    def error(self, got: Tensor, want: Tensor) -> float:
        """Squared distance of rows `[tokens, C]`."""
        difference = got - want
        return float((difference * (difference if self.gram is None else difference @ self.gram)).sum())

    def size(self, rows: Tensor) -> float:
        """Squared length of rows."""
        return self.error(rows, torch.zeros(()))


def compared(gm: fx.GraphModule, weights: object) -> list[Compared]:
    """Every output that is computed in floats, and what an encoder stores for its decoder."""
    ends = [*output(gm).all_input_nodes, *(x for node in calls(gm, "edgeq.store_keys") for x in node.args[:2])]
    return list(_compared(dict.fromkeys(ends), weights))


def _compared(ends: dict[fx.Node, None], weights: object) -> Iterator[Compared]:
    for node in ends:
        if is_weight(node) or node.op != "call_function" or not value(node).is_floating_point():
            continue
        behind = node
        while op(behind) in SEEN_THROUGH and len(behind.all_input_nodes) == 1:
            behind = behind.all_input_nodes[0]
        if op(behind) == "aten.linear" and _wide(arguments(behind)["weight"]):
            yield Compared(behind, _gram(arguments(behind)["weight"], weights))
        else:
            yield Compared(node)


def _wide(weight: fx.Node) -> bool:
    outputs, inputs = value(weight).shape
    return bool(outputs > inputs)


def _gram(weight: fx.Node, weights: object) -> Tensor:
    """W^T W, f32 `[K, K]`, read in ranges of rows."""
    rows, columns = value(weight).shape
    total = torch.zeros(columns, columns)
    for first in range(0, rows, CHUNK):
        part = evaluate(weight, weights, slice(first, min(first + CHUNK, rows))).float()  # type: ignore[arg-type]
        total.addmm_(part.T, part)
    return total


def rows_of(captured: Captured, node: fx.Node) -> list[Tensor]:
    """`[tokens, C]` a sample; of an output of one axis `[1, C]`."""
    if value(node).dim() < 2:
        return [held.reshape(1, -1) for held in captured.values(node)]
    return captured.rows(node)


def ratios(bits: int, tokens: int, most: int) -> list[float]:
    """1, 1 - step, ...: the published steps and reach; wider steps where there would be more than `most`."""
    reach = REACH.get(bits, 0.9)
    step = max(min(STEP, STEP * STEP_TOKENS / max(tokens, 1)), reach / (most - 1))
    return [1 - i * step for i in range(round(reach / step) + 1)]


def choose_ratio(
    gm: fx.GraphModule,
    context: Context,
    samples: list[Sample],
    extremes: dict[Spot, Extremes],
    wanted: dict[Compared, list[Tensor]],
    bits: int,
    most: int,
) -> tuple[float, list[tuple[float, float]]]:
    """The ratio of least squared error of the outputs, all spots quantized (weights are not); each output counts alike.

    wanted: the float model's values. Returns (ratio, errors by ratio); the graph is as it was.
    """
    tokens = max((len(found.high) for found in extremes.values()), default=0)
    inserted = {spot: insert_range(gm, spot, 1.0, bits) for spot in extremes}
    errors: list[tuple[float, float]] = []
    candidates = ratios(bits, tokens, most)
    for i, alpha in enumerate(candidates):
        for spot, found in extremes.items():
            set_range(inserted[spot], tokens_limit(found.high, found.low, alpha), bits)
        stage = f"try ratio {i + 1} of {len(candidates)}"
        errors.append((alpha, _loss(gm, context, samples, wanted, stage)))
    for spot, node in inserted.items():
        remove_range(spot, node)
    return min(errors, key=lambda pair: pair[1])[0], errors


def _loss(
    gm: fx.GraphModule, context: Context, samples: list[Sample], wanted: dict[Compared, list[Tensor]], stage: str
) -> float:
    """Sum over outputs of the squared error relative to the float values."""
    total = 0.0
    shown = {one.shown: one for one in wanted}

    def visit(block: Block, captured: Captured) -> None:
        nonlocal total
        for node, one in shown.items():
            if node in captured:
                pairs = list(zip(rows_of(captured, node), wanted[one], strict=True))
                size = sum(one.size(want) for _, want in pairs)
                total += sum(one.error(got, want) for got, want in pairs) / max(size, FLOOR)

    stream(gm, context.weights, samples, shown.__contains__, visit, progress=context.progress, stage=stage)
    return total
