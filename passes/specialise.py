"""Fixed lengths: a graph of any number of rows becomes an entry of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import fx
from torch._subclasses import FakeTensorMode

from edgeq.errors import UsageError
from edgeq.ir.graph import inputs, is_weight, op, remove_unused, value
from edgeq.passes.pass_ import Context, Pass, Report, Site, refuse


@dataclass(frozen=True)
class Specialise(Pass):
    """Every symbolic size becomes `rows`; shapes are computed anew and what depends on no input is folded. Exact.

    Weight expressions and stored tables (inv_freq) stay: their values belong to packing.

    Attributes:
        rows: tokens that one call takes.
    """

    name: ClassVar[str] = "specialise"
    rows: int = 1

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise UsageError(f"an entry of {self.rows} rows computes nothing; give a positive number")

    def requires(self, gm: fx.GraphModule) -> None:
        """Valid, with one symbolic size at most."""
        super().requires(gm)
        sizes = _symbols(gm)
        if len(sizes) > 1:
            refuse("more than one symbolic size", [Site("inputs", ", ".join(sorted(sizes)))])

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Substitute, retype, fold."""
        sizes = _symbols(gm)
        self._substitute(gm)
        mode = FakeTensorMode()
        for node in gm.graph.nodes:
            if node.op != "output":
                node.meta["val"] = self._type(node, mode)
        folded = _fold(gm)
        remove_unused(gm)
        changed = [Site("inputs", f"s = {self.rows}")] if sizes else []
        return Report(str(self), tuple(changed + folded))

    def _substitute(self, gm: fx.GraphModule) -> None:
        """Computed sizes become numbers in the arguments of their users."""
        for node in list(gm.graph.nodes):
            if node.op == "call_function" and isinstance(value(node), (int, torch.SymInt)):
                number = self._size(value(node))
                for user in list(node.users):
                    user.args, user.kwargs = fx.map_arg((user.args, user.kwargs), _swap(node, number))
                gm.graph.erase_node(node)

    def _size(self, size: int | torch.SymInt) -> int:
        if isinstance(size, int):
            return size
        expression = size.node.expr
        return int(expression.subs(dict.fromkeys(expression.free_symbols, self.rows)))

    def _type(self, node: fx.Node, mode: FakeTensorMode) -> Any:
        if node.op in ("placeholder", "get_attr"):
            held = value(node)
            with mode:
                return torch.empty([self._size(size) for size in held.shape], dtype=held.dtype)
        args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), value)
        with mode, torch.no_grad():
            return node.target(*args, **kwargs)  # type: ignore[operator]


def _swap(old: fx.Node, number: int) -> Any:
    return lambda node: number if node is old else node


def _symbols(gm: fx.GraphModule) -> set[str]:
    sizes = [size for node in inputs(gm).values() for size in value(node).shape if isinstance(size, torch.SymInt)]
    return {str(symbol) for size in sizes for symbol in size.node.expr.free_symbols}


def _fold(gm: fx.GraphModule) -> list[Site]:
    """Evaluate what is computed from constants made in the graph (positions): `const_i` buffers of the module."""
    known: dict[fx.Node, torch.Tensor] = {}
    for node in gm.graph.nodes:
        if node.op != "call_function" or is_weight(node):
            continue
        if (node.all_input_nodes or op(node) == "aten.arange") and all(n in known for n in node.all_input_nodes):
            args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), known.__getitem__)
            known[node] = node.target(*args, **kwargs)
    needed = [node for node in known if any(user not in known for user in node.users)]
    return [_store(gm, node, known[node], index) for index, node in enumerate(needed)]


def _store(gm: fx.GraphModule, node: fx.Node, constant: torch.Tensor, index: int) -> Site:
    name = f"const_{index}"
    gm.register_buffer(name, constant)
    with gm.graph.inserting_before(node):
        stored = gm.graph.create_node("get_attr", name, name=name)
    stored.meta.update(node.meta)
    node.replace_all_uses_with(stored)
    return Site(node.name, f"folded to {name} {list(constant.shape)}")
