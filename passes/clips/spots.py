"""Where an activation can have a static range: before the linears that read it; ranges put there and taken away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import fx

from edgeq.ir.graph import arguments, calls, insert, is_weight, site
from edgeq.ir.ops.fake_quant import largest_code
from edgeq.ir.verify import is_static
from edgeq.passes.clips.clipping import FLOOR
from edgeq.passes.folds.channels import stored_names
from edgeq.passes.folds.folding import table
from edgeq.passes.quantize import heads


@dataclass(frozen=True)
class Spot:
    """An activation that linears read, and the key of its range: equal in every entry of a model."""

    activation: fx.Node
    linears: tuple[fx.Node, ...]
    key: str

    @property
    def module(self) -> str:
        """What to call it in a report."""
        return ", ".join(dict.fromkeys(site(linear) for linear in self.linears))


def spots(gm: fx.GraphModule, head: bool = True) -> list[Spot]:
    """In the graph's order; `head`: that of a language model's output head too."""
    skipped = set() if head or is_static(gm) else set(heads(gm))
    readers: dict[fx.Node, list[fx.Node]] = {}
    for linear in calls(gm, "aten.linear"):
        if not is_weight(linear) and linear not in skipped:
            readers.setdefault(arguments(linear)["input"], []).append(linear)
    return list(_numbered(readers))


def _numbered(readers: dict[fx.Node, list[fx.Node]]) -> Iterator[Spot]:
    """Layers may share their weights (ALBERT): the key counts."""
    seen: dict[str, int] = {}
    for activation, linears in readers.items():
        names = " ".join(sorted({name for n in linears for name in stored_names(arguments(n)["weight"])}))
        seen[names] = seen.get(names, 0) + 1
        yield Spot(activation, tuple(linears), f"{names} #{seen[names]}")


def insert_range(gm: fx.GraphModule, spot: Spot, limit: float, bits: int) -> fx.Node:
    """Put a `fake_quant` before the linears of a spot; its scale, a stored f32 `[1]`, makes `limit` the last code."""
    scale = table(gm, torch.tensor([_scale(limit, bits)]), spot.linears[0], "range")
    order = {node: i for i, node in enumerate(gm.graph.nodes)}
    options = {} if bits == 8 else {"bits": bits}
    with gm.graph.inserting_before(min(spot.linears, key=order.__getitem__)):
        new = insert(gm.graph, "edgeq.fake_quant", spot.activation, scale, like=spot.linears[0], **options)
    for linear in spot.linears:
        linear.update_arg(0, new)
    return new


def set_range(node: fx.Node, limit: float, bits: int) -> None:
    """Give an inserted `fake_quant` another limit."""
    _held(node).fill_(_scale(limit, bits))


def remove_range(spot: Spot, node: fx.Node) -> None:
    """Take an inserted `fake_quant` and its stored scale out again."""
    scale = arguments(node)["scale"]
    for linear in spot.linears:
        linear.update_arg(0, spot.activation)
    node.graph.erase_node(node)
    owner = scale.graph.owning_module
    scale.graph.erase_node(scale)
    del owner._buffers[str(scale.target)]


def _held(node: fx.Node) -> torch.Tensor:
    owner = node.graph.owning_module
    assert owner is not None
    held = owner._buffers[str(arguments(node)["scale"].target)]
    assert held is not None
    return held


def _scale(limit: float, bits: int) -> float:
    return max(limit, FLOOR) / largest_code(bits)
