"""Weight formats: every linear and token embedding gets the format that its weights are stored in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import fx

from edgeq.errors import UnsupportedError
from edgeq.ir.graph import arguments, calls, inputs, insert, is_weight, op, output, remove_unused, replace, site, value
from edgeq.ir.verify import is_static
from edgeq.passes.pass_ import Context, Pass, Report, Site, refuse
from edgeq.quant.bits import Bits
from edgeq.quant.format import WeightFormat


@dataclass(frozen=True)
class Quantize(Pass):
    """`linear` -> `qlinear`, `embedding` of token ids -> `qembedding`; a choice of formats, no values are read.

    Other embeddings (positions, token types) stay in float. In `fp32` and `fp16` linears become `qlinear` with weight
    `f32` or `f16` and activations `a16`, so that lowering treats all alike.

    A language model's output head has a format of its own; in a static graph every linear that computes an output has
    it, and widths that are no multiple of 16 are stored with zero columns.

    Attributes:
        bits: the bits grammar, e.g. `w4a8g128`.
        head: format of the output head and the token embedding, e.g. `w8g32`; empty: what `bits` says.
    """

    name: ClassVar[str] = "quantize"
    bits: str = "w4a8"
    head: str = ""

    def __post_init__(self) -> None:
        self._formats()

    def requires(self, gm: fx.GraphModule) -> None:
        """Valid, and every width can be stored in its format: all that cannot are listed."""
        super().requires(gm)
        refuse(f"weights that {self.bits} cannot store", self._unstorable(gm))

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Replace every linear and token embedding."""
        changed = [self._replace(gm, node, *choice) for node, choice in self._choices(gm).items()]
        left = [node for node in calls(gm, "aten.embedding") if not is_weight(node)]
        declined = [Site(site(node), "positions stay in float") for node in left]
        remove_unused(gm)
        return Report(str(self), tuple(changed), tuple(declined))

    def _formats(self) -> tuple[Bits, WeightFormat]:
        bits = Bits.parse(self.bits)
        return bits, WeightFormat.parse(self.head) if self.head else bits.head

    def _choices(self, gm: fx.GraphModule) -> dict[fx.Node, tuple[WeightFormat, str]]:
        """Node -> (weight format, activation type)."""
        bits, head = self._formats()
        static = is_static(gm)
        last = set(_last_linears(gm) if static else _heads(gm))
        chosen: dict[fx.Node, tuple[WeightFormat, str]] = {}
        for node in calls(gm, "aten.linear", "aten.embedding"):
            if op(node) == "aten.embedding":
                if _reads_tokens(gm, node):
                    chosen[node] = head, ""
                elif static and not is_weight(node):
                    chosen[node] = WeightFormat.parse("f32"), ""
            elif node in last:
                chosen[node] = head, "a16" if head.is_float else bits.act
            else:
                chosen[node] = bits.weight, bits.act
        return chosen

    def _unstorable(self, gm: fx.GraphModule) -> Iterator[Site]:
        step = 16 if is_static(gm) else 1
        for node, (fmt, _) in self._choices(gm).items():
            problem = _width_problem(fmt, -(-int(value(arguments(node)["weight"]).shape[1]) // step) * step)
            if problem:
                yield Site(site(node), problem)

    def _replace(self, gm: fx.GraphModule, node: fx.Node, fmt: WeightFormat, act: str) -> Site:
        given = arguments(node)
        with gm.graph.inserting_before(node):
            if op(node) == "aten.embedding":
                new = insert(
                    gm.graph, "edgeq.qembedding", given["indices"], given["weight"], weight=str(fmt), like=node
                )
            else:
                new = insert(
                    gm.graph, "edgeq.qlinear", given["input"], given["weight"], given["bias"],
                    weight=str(fmt), act=act, like=node,
                )  # fmt: skip
        replace(node, new)
        return Site(site(new), f"{fmt} {act}".strip())


def _width_problem(fmt: WeightFormat, columns: int) -> str:
    try:
        fmt.check_width(columns)
    except UnsupportedError as error:
        return str(error)
    return ""


def _heads(gm: fx.GraphModule) -> Iterator[fx.Node]:
    """Linears whose result reaches the output through no other linear."""
    pending, seen = list(output(gm).all_input_nodes), set()
    while pending:
        node = pending.pop()
        if node in seen or is_weight(node):
            continue
        seen.add(node)
        if op(node) == "aten.linear":
            yield node
        else:
            pending += node.all_input_nodes


def _last_linears(gm: fx.GraphModule) -> Iterator[fx.Node]:
    """Linears that compute an output, seen through views of it."""
    for node in output(gm).all_input_nodes:
        while op(node) in ("aten.reshape", "aten.squeeze", "aten.unsqueeze"):
            node = node.all_input_nodes[0]
        if op(node) == "aten.linear":
            yield node


def _reads_tokens(gm: fx.GraphModule, node: fx.Node) -> bool:
    return arguments(node)["indices"] is inputs(gm).get("input_ids")
