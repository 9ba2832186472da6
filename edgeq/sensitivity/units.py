"""What gets a format of its own: linears that will be one product, a linear alone, output heads with embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import fx

from edgeq.ir.graph import arguments, calls, inputs, site, value
from edgeq.passes.folds.weight_key import key_of
from edgeq.passes.grids import grid_format, holds_grid
from edgeq.passes.merge_linears import groups
from edgeq.passes.quantize import output_linears
from edgeq.quant.format import K_MULTIPLE, WeightFormat
from edgeq.sensitivity.result import HEAD, LINEAR


@dataclass(frozen=True, eq=False)
class Part:
    """A unit in one graph.

    Attributes:
        linears, embeddings: its nodes, in order; layers that share weights are all here.
        kind: `linear` or `head`.
        key: the weights concerned, the same in every entry of a model.
    """

    linears: tuple[fx.Node, ...]
    embeddings: tuple[fx.Node, ...]
    kind: str
    key: str

    @property
    def nodes(self) -> tuple[fx.Node, ...]:
        """Everything that reads its weights."""
        return self.embeddings + self.linears

    @property
    def modules(self) -> tuple[str, ...]:
        """Hugging Face names, each once."""
        return tuple(dict.fromkeys(map(site, self.linears + self.embeddings)))

    @property
    def weights(self) -> dict[str, fx.Node]:
        """Its distinct weights `[N, K]` by key, in order."""
        return {weight_key(node): arguments(node)["weight"] for node in self.linears + self.embeddings}

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K) of the stacked weight."""
        sizes = [tuple(map(int, value(weight).shape)) for weight in self.weights.values()]
        return sum(rows for rows, _ in sizes), sizes[0][1]

    def bytes(self, fmt: WeightFormat) -> int:
        """Of its packed weights: merged linears are stacked before they are padded to whole tiles, tables are not."""
        if self.kind == LINEAR:
            rows, columns = self.shape
            return fmt.nbytes(rows, _padded(columns))
        shapes = [value(weight).shape for weight in self.weights.values()]
        return sum(fmt.nbytes(int(rows), _padded(int(columns))) for rows, columns in shapes)

    def fixed(self) -> str | None:
        """The format of weights that a pass put on a grid; None while they are free."""
        found = {grid_format(weight) for weight in self.weights.values()}
        return found.pop() if len(found) == 1 else None


def parts(gm: fx.GraphModule) -> list[Part]:
    """Units of a float graph, in the order in which it computes them; heads and token embeddings are one, the last."""
    last = output_linears(gm)
    heads = tuple(node for node in calls(gm, "aten.linear") if node in last)
    found: dict[str, Part] = {}
    for group in _products(gm, set(heads)):
        key = " | ".join(dict.fromkeys(map(weight_key, group)))
        before = found[key].linears if key in found else ()
        found[key] = Part((*before, *group), (), LINEAR, key)
    embeddings = tuple(node for node in calls(gm, "aten.embedding") if _reads_tokens(gm, node))
    if heads or embeddings:
        key = " | ".join(dict.fromkeys(map(weight_key, (*heads, *embeddings))))
        found[key] = Part(heads, embeddings, HEAD, key)
    return list(found.values())


def weight_key(node: fx.Node) -> str:
    """Of a linear or an embedding: `key_of`, of a weight on a grid the names of its tables."""
    weight = arguments(node)["weight"]
    return f"{key_of(node)} {' '.join(_tables(weight))}" if holds_grid(weight) else key_of(node)


def _tables(weight: fx.Node) -> Iterator[str]:
    if weight.op == "get_attr":
        yield str(weight.target)
    for source in weight.all_input_nodes:
        yield from _tables(source)


def _products(gm: fx.GraphModule, heads: set[fx.Node]) -> Iterator[tuple[fx.Node, ...]]:
    """Linears as merge-linears takes them together, each once, in order of the first of each group."""
    together = {part: tuple(group) for group in groups(gm) if heads.isdisjoint(group) for part in group}
    done: set[fx.Node] = set(heads)
    for linear in calls(gm, "aten.linear"):
        if linear not in done:
            group = together.get(linear, (linear,))
            done.update(group)
            yield group


def _reads_tokens(gm: fx.GraphModule, node: fx.Node) -> bool:
    return arguments(node)["indices"] is inputs(gm).get("input_ids")


def _padded(columns: int) -> int:
    return -(-columns // K_MULTIPLE) * K_MULTIPLE
