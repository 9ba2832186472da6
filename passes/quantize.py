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

    With `a8s` a linear takes in the `fake_quant` before it, and its scale; one without it keeps a scale a token.

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
        refuse(f"activations that {self.bits} does not say", self._contradictions(gm))

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Replace every linear and token embedding."""
        changed = [self._replace(gm, node, *choice) for node, choice in self._choices(gm).items()]
        assert not any(node.users for node in calls(gm, "edgeq.fake_quant")), "refused by requires"
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
        last = set(_last_linears(gm) if static else heads(gm))
        chosen: dict[fx.Node, tuple[WeightFormat, str]] = {}
        for node in calls(gm, "aten.linear", "aten.embedding"):
            if op(node) == "aten.embedding":
                if _reads_tokens(gm, node):
                    chosen[node] = head, ""
                elif static and not is_weight(node):
                    chosen[node] = WeightFormat.parse("f32"), ""
            elif node in last:
                chosen[node] = head, "a16" if head.is_float else _act(node, bits)
            else:
                chosen[node] = bits.weight, _act(node, bits)
        return chosen

    def _contradictions(self, gm: fx.GraphModule) -> Iterator[Site]:
        """Static ranges without `a8s`, `a8s` without static ranges, and ranges that no kernel quantizes to."""
        found, act = calls(gm, "edgeq.fake_quant"), self._formats()[0].act
        if act == "a8s" and not found and calls(gm, "aten.linear"):
            yield Site("activations", "a8s needs ranges: run static-ranges, which takes samples, or write a8")
        for node in found:
            if act != "a8s":
                yield Site(site(node), "it has a static range: write a8s, or leave static-ranges out")
            elif arguments(node)["bits"] != 8:
                yield Site(site(node), f"activations of {arguments(node)['bits']} bits have no kernel: simulation only")
            elif others := [user for user in node.users if op(user) != "aten.linear"]:
                yield Site(site(node), f"{op(others[0]) or others[0].op} reads its static range; only linears can")

    def _unstorable(self, gm: fx.GraphModule) -> Iterator[Site]:
        step = 16 if is_static(gm) else 1
        for node, (fmt, _) in self._choices(gm).items():
            problem = _width_problem(fmt, -(-int(value(arguments(node)["weight"]).shape[1]) // step) * step)
            if problem:
                yield Site(site(node), problem)

    def _replace(self, gm: fx.GraphModule, node: fx.Node, fmt: WeightFormat, act: str) -> Site:
        given = arguments(node)
        x, scale = _source(given.get("input")), _scale(given.get("input")) if act == "a8s" else None
        with gm.graph.inserting_before(node):
            if op(node) == "aten.embedding":
                new = insert(
                    gm.graph, "edgeq.qembedding", given["indices"], given["weight"], weight=str(fmt), like=node
                )
            else:
                new = insert(
                    gm.graph, "edgeq.qlinear", x, given["weight"], given["bias"], scale,
                    weight=str(fmt), act=act, like=node,
                )  # fmt: skip
        replace(node, new)
        return Site(site(new), f"{fmt} {act}".strip())


def _act(linear: fx.Node, bits: Bits) -> str:
    """`a8s` asks for a range; where none was measured a linear keeps a scale a token."""
    static = bits.act == "a8s" and op(arguments(linear)["input"]) == "edgeq.fake_quant"
    return "a8s" if static else bits.act.removesuffix("s")


def _source(x: fx.Node | None) -> fx.Node | None:
    """What a linear reads before its range is applied."""
    return arguments(x)["x"] if op(x) == "edgeq.fake_quant" else x  # type: ignore[arg-type]


def _scale(x: fx.Node | None) -> fx.Node | None:
    return arguments(x)["scale"] if op(x) == "edgeq.fake_quant" else None  # type: ignore[arg-type]


def _width_problem(fmt: WeightFormat, columns: int) -> str:
    try:
        fmt.check_width(columns)
    except UnsupportedError as error:
        return str(error)
    return ""


def heads(gm: fx.GraphModule) -> Iterator[fx.Node]:
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
