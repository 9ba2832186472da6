"""A float graph run on samples a block at a time: one block's weights and the activations between blocks in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor, fx

from edgeq.calibrate.blocks import Block, activations, blocks
from edgeq.calibrate.journal import Decisions
from edgeq.calibrate.keeper import Keeper
from edgeq.calibrate.samples import Sample
from edgeq.calibrate.walk import Walk
from edgeq.errors import UsageError

Progress = Callable[[str, int, int], None]


class Captured:
    """Values of the wanted nodes of one block, for all samples; they are dropped when the visit returns."""

    def __init__(self, samples: Sequence[Sample], values: dict[fx.Node, list[Tensor]]) -> None:
        self.samples = samples
        self._values = values

    def __contains__(self, node: object) -> bool:
        return node in self._values

    def values(self, node: fx.Node) -> list[Tensor]:
        """One tensor a sample, of the node's own shape; KeyError when it is not in this block or was not wanted."""
        return self._values[node]

    def rows(self, node: fx.Node) -> list[Tensor]:
        """One tensor `[tokens, C]` a sample: all axes but the last flattened, rows that do not count left out.

        All rows, where the node has another number of rows than the sample counts (windows, patches, pooled rows).
        """
        pairs = zip(self._values[node], self.samples, strict=True)
        return [_counted(tensor.flatten(0, -2), sample.counted) for tensor, sample in pairs]


def stream(
    gm: fx.GraphModule,
    weights: Any,
    samples: Sequence[Sample],
    wanted: Callable[[fx.Node], bool],
    visit: Callable[[Block, Captured], None],
    *,
    progress: Progress | None = None,
    stage: str = "calibrate",
    journal: Decisions | None = None,
    last: fx.Node | None = None,
) -> None:
    """Run the graph on every sample, block by block, and show each block's wanted values to `visit`.

    All samples go through a block before the next; its weights are read once and dropped before the visit; between
    blocks only what later blocks need is kept. Only what wanted nodes need is computed: an output head is not, unless
    something after it is wanted. Blocks without a wanted node are not visited.

    What runs is the graph as it was when the stream began: `visit` may rewrite it anywhere. Samples run one by one, so
    a sample's values do not depend on how many there are; they do depend on torch's number of threads, which decides
    in which order its sums are added.

    Args:
        gm: a float graph, before `add-cache`.
        weights: reads stored tensors by name (`read(name, rows=None)`).
        samples: inputs of this graph.
        wanted: of a node that computes something, whether `visit` sees its values.
        visit: called once a block, in order.
        progress: called with (stage, blocks done, blocks).
        stage: what progress calls it; also tells the streams of one pass apart in a journal.
        journal: a `Journal` keeps the activations between blocks, and continues after the last block it has.
        last: wanted nodes after this one are left out.

    Raises:
        UsageError: no samples, or a sample that lacks an input which the wanted nodes need.
    """
    shown = _wanted(gm, wanted, last)
    if not shown:
        return
    if not samples:
        raise UsageError(f"{stage}: activations are measured on samples, and there are none that this graph takes")
    walk = Walk(gm, weights, samples, shown)
    todo = _until_last(blocks(gm), shown)
    keeper = Keeper(journal, stage, walk, todo)
    for block in todo[keeper.resume() :]:
        _report(progress, stage, block.index, len(todo))
        keeper.done(block, _through(block, walk, samples, visit))
    _report(progress, stage, len(todo), len(todo))
    keeper.finish()


def _through(block: Block, walk: Walk, samples: Sequence[Sample], visit: Callable[[Block, Captured], None]) -> bool:
    """Whether the block was visited; its values go when this returns, before the next block runs."""
    values = walk.run(block)
    if values:
        visit(block, Captured(samples, values))
    return bool(values)


def _wanted(gm: fx.GraphModule, wanted: Callable[[fx.Node], bool], last: fx.Node | None) -> set[fx.Node]:
    nodes = activations(gm)
    if last is not None:
        nodes = nodes[: nodes.index(last) + 1]
    return {node for node in nodes if wanted(node)}


def _until_last(found: Iterable[Block], shown: set[fx.Node]) -> list[Block]:
    listed = list(found)
    end = max(block.index for block in listed if not shown.isdisjoint(block.nodes))
    return listed[: end + 1]


def _counted(rows: Tensor, counted: Tensor) -> Tensor:
    return rows[counted] if len(rows) == len(counted) else rows


def _report(progress: Progress | None, stage: str, done: int, total: int) -> None:
    if progress is not None:
        progress(stage, done, total)
