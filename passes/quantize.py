"""Weight formats: every linear and token embedding gets the format that its weights are stored in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import fx

from edgeq.errors import UnsupportedError
from edgeq.ir.graph import (
    arguments,
    calls,
    hf_name,
    inputs,
    insert,
    is_weight,
    op,
    output,
    remove_unused,
    replace,
    site,
    value,
)
from edgeq.ir.ops.matrix import SIGNS
from edgeq.ir.verify import is_static
from edgeq.passes.grids import grid_format, holds_grid, tables_of
from edgeq.passes.pass_ import Context, Pass, Report, Site, refuse
from edgeq.quant.bits import Bits
from edgeq.quant.format import WeightFormat
from edgeq.quant.per_linear import format_of


@dataclass(frozen=True)
class Quantize(Pass):
    """`linear` -> `qlinear`, `embedding` of token ids -> `qembedding`; a choice of formats, no values are read.

    A linear whose weight lies on a grid already (`edgeq.grid`) keeps that grid, its codes and scales. Another one has
    the format that the compile gives it by name (`Context.formats`), else what `bits` says. Other embeddings
    (positions, token types) stay in float. In `fp32` and `fp16` linears become `qlinear` with weight `f32` or `f16` and
    activations `a16`, so that lowering treats all alike.

    A language model's output head has a format of its own; in a static graph every linear that computes an output has
    it (a full name in `Context.formats` overrides it, a pattern does not), and widths that are no multiple of 16 are
    stored with zero columns.

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
        """Valid, and activations are what `bits` says."""
        super().requires(gm)
        refuse(f"activations that {self.bits} does not say", self._contradictions(gm))

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Replace every linear and token embedding; what cannot be stored in its format is listed."""
        refuse("weights that were on a grid and then changed: what rounds must come last", _spoilt(gm))
        choices = self._choices(gm, context.formats)
        refuse("weights that their formats cannot store", _unstorable(gm, choices))
        changed = [self._replace(gm, node, *choice) for node, choice in choices.items()]
        assert not any(node.users for node in calls(gm, "edgeq.fake_quant")), "refused by requires"
        left = [node for node in calls(gm, "aten.embedding") if not is_weight(node)]
        declined = [Site(site(node), "positions stay in float") for node in left]
        remove_unused(gm)
        return Report(str(self), tuple(changed), tuple(declined))

    def _formats(self) -> tuple[Bits, WeightFormat]:
        bits = Bits.parse(self.bits)
        return bits, WeightFormat.parse(self.head) if self.head else bits.head

    def _choices(self, gm: fx.GraphModule, formats: Mapping[str, str]) -> dict[fx.Node, tuple[WeightFormat, str]]:
        """Node -> (weight format, activation type)."""
        bits, head = self._formats()
        static = is_static(gm)
        last = output_linears(gm)
        chosen: dict[fx.Node, tuple[WeightFormat, str]] = {}
        for node in calls(gm, "aten.linear", "aten.embedding"):
            if op(node) == "aten.embedding":
                if _reads_tokens(gm, node):
                    own = grid_format(arguments(node)["weight"])
                    chosen[node] = WeightFormat.parse(own) if own else head, ""
                elif static and not is_weight(node):
                    chosen[node] = WeightFormat.parse("f32"), ""
            else:
                fmt = _own_format(node, formats, node in last) or (head if node in last else bits.weight)
                chosen[node] = fmt, _act(node, bits, fmt, node in last)
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

    def _replace(self, gm: fx.GraphModule, node: fx.Node, fmt: WeightFormat, act: str) -> Site:
        given = arguments(node)
        x, scale = _source(given.get("input")), _scale(given.get("input")) if act == "a8s" else None
        with gm.graph.inserting_before(node):
            if op(node) == "aten.embedding":
                new = _qembedding(gm.graph, node, fmt)
            else:
                assert x is not None
                new = _qlinear(gm.graph, node, x, scale, fmt, act)
        replace(node, new)
        return Site(site(new), f"{fmt} {act}".strip())


def _unstorable(gm: fx.GraphModule, choices: Mapping[fx.Node, tuple[WeightFormat, str]]) -> Iterator[Site]:
    step = 16 if is_static(gm) else 1
    for node, (fmt, _) in choices.items():
        problem = _width_problem(fmt, -(-int(value(arguments(node)["weight"]).shape[1]) // step) * step)
        if problem:
            yield Site(site(node), problem)


def _spoilt(gm: fx.GraphModule) -> Iterator[Site]:
    """Linears whose weight is computed from a grid: rounding it again would give other numbers than were chosen."""
    for node in calls(gm, "aten.linear"):
        weight = arguments(node)["weight"]
        if holds_grid(weight) and grid_format(weight) is None:
            yield Site(site(node), f"its weight is {op(weight)} of a weight on a grid")


def _own_format(linear: fx.Node, formats: Mapping[str, str], last: bool) -> WeightFormat | None:
    """The format of the grid that the weight lies on, else the one given by name; None where nothing is said."""
    text = grid_format(arguments(linear)["weight"])
    return format_of(hf_name(linear), formats, exact=last) if text is None else WeightFormat.parse(text)


def _qembedding(graph: fx.Graph, node: fx.Node, fmt: WeightFormat) -> fx.Node:
    given = arguments(node)
    weight = given["weight"]
    tables = tables_of(weight) if grid_format(weight) == str(fmt) else (weight, None, None)
    return insert(graph, "edgeq.qembedding", given["indices"], *tables, weight=str(fmt), like=node)


def _qlinear(graph: fx.Graph, node: fx.Node, x: fx.Node, scale: fx.Node | None, fmt: WeightFormat, act: str) -> fx.Node:
    given = arguments(node)
    weight, how = given["weight"], {"weight": str(fmt), "act": act, "like": node}
    if grid_format(weight) is None:
        return insert(graph, "edgeq.qlinear", x, weight, given["bias"], scale, **how)
    tables = tables_of(weight)
    return insert(graph, "edgeq.qlinear", x, tables.codes, given["bias"], scale, tables.scale, tables.zero, **how)


def _act(linear: fx.Node, bits: Bits, fmt: WeightFormat, last: bool) -> str:
    """`a8s` asks for a range; where none was measured a linear keeps a scale a token."""
    if fmt.float_only:
        return "a16"
    if bits.act == "a1":
        return "a8" if last or str(fmt) != SIGNS else "a1"
    if bits.act == "a8s":
        return "a8s" if op(arguments(linear)["input"]) == "edgeq.fake_quant" else "a8"
    return "a8" if last and bits.act == "a4" else bits.act


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


def output_linears(gm: fx.GraphModule) -> set[fx.Node]:
    """Linears that have the format of the output head."""
    return set(_last_linears(gm) if is_static(gm) else heads(gm))


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
