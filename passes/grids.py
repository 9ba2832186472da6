"""Weights put on their stored grid by a pass: the numbers it chose reach the artifact as they are."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from edgeq.errors import UsageError
from edgeq.ir.graph import arguments, hf_name, insert, op, site, value
from edgeq.ir.ops.grid import SOURCES
from edgeq.passes.folds.channels import stored
from edgeq.passes.folds.folding import replace_argument
from edgeq.quant.format import WeightFormat


class Tables(NamedTuple):
    """Weight expressions of a weight on a grid: codes u8 `[N, K]`, scale f16 `[N, KG * numbers]`, zero points (u8
    `[N, KG]`) or offsets (f16), or None."""

    codes: fx.Node
    scale: fx.Node
    zero: fx.Node | None


def put_on_grid(
    gm: fx.GraphModule, linear: fx.Node, codes: Tensor, scale: Tensor, zero: Tensor | None, fmt: WeightFormat,
    index: Tensor | None = None,
) -> None:  # fmt: skip
    """Replace the weight of an `aten.linear` by `edgeq.grid` over stored tables; `quantize` takes them as they are.

    The tensors are kept, not copied: give every entry of a model the same ones.

    Args:
        linear: of `gm`.
        codes: u8 `[N, K]`, below `fmt.codes`. scale: f16 `[N, KG * numbers]`. zero: u8 zero points or f16 offsets
            `[N, KG]`; None of a symmetric format.
        fmt: of the grid, whatever the model's bits say.
        index: i32 `[K']`: the weight is `[N, K']`, and its column j multiplies channel `index[j]` of what the linear
            reads (-1: nothing). Linears of one input and equal indices share the gather.

    Raises:
        UsageError: tables of another type or shape, codes out of range, scales that are not finite.
    """
    _check(linear, codes, scale, zero, fmt, None if index is None else len(index))
    sources = _sources(arguments(linear)["weight"])
    tables = [
        None if held is None else _table(gm, held, linear, name, sources)
        for name, held in (("codes", codes), ("scale", scale), ("zero", zero))
    ]
    with gm.graph.inserting_before(linear):
        new = insert(gm.graph, "edgeq.grid", *tables, weight=str(fmt), like=linear)
    if index is not None:
        replace_argument(linear, "input", gathered(gm, arguments(linear)["input"], index, linear))
    replace_argument(linear, "weight", new)


def gathered(gm: fx.GraphModule, x: fx.Node, index: Tensor, linear: fx.Node) -> fx.Node:
    """Channels `index` (i32 `[K']`) of x, one `edgeq.columns` for all that ask for the same; behind it x's range."""
    if op(x) == "edgeq.fake_quant":
        given = arguments(x)
        source = gathered(gm, given["x"], index, linear)
        known = [user for user in source.users if op(user) == op(x) and arguments(user)["scale"] is given["scale"]]
        if known:
            return known[0]
        with gm.graph.inserting_after(x):
            return insert(gm.graph, op(x), source, given["scale"], bits=given["bits"], like=x)
    for user in x.users:
        if op(user) == "edgeq.columns" and torch.equal(gm.get_buffer(str(arguments(user)["index"].target)), index):
            return user
    order = _table(gm, index, linear, "order", {})
    first = next(node for node in gm.graph.nodes if node.op == "call_function")
    with gm.graph.inserting_before(first) if x.op != "call_function" else gm.graph.inserting_after(x):
        return insert(gm.graph, "edgeq.columns", x, order, like=linear)


def grid_format(weight: object) -> str | None:
    """The format of a weight on a grid, seen through slices and joins of rows; None of one that is on none.

    None too where parts of it are and parts are not, where their formats differ, and where a grid was changed.
    """
    if not isinstance(weight, fx.Node):
        return None
    given = arguments(weight)
    if op(weight) == "edgeq.grid":
        return str(given["weight"])
    if op(weight) == "aten.slice" and given["dim"] == 0:
        return grid_format(given["self"])
    if op(weight) == "aten.cat" and given["dim"] == 0:
        formats = {grid_format(part) for part in given["tensors"]}
        return formats.pop() if len(formats) == 1 else None
    return None


def holds_grid(weight: object) -> bool:
    """Whether a weight expression reads a grid anywhere."""
    if not isinstance(weight, fx.Node) or weight.op != "call_function":
        return False
    return op(weight) == "edgeq.grid" or any(map(holds_grid, weight.all_input_nodes))


def tables_of(weight: fx.Node) -> Tables:
    """The tables of a weight that has a `grid_format`, made at the graph's insertion point where rows are sliced."""
    given = arguments(weight)
    if op(weight) == "edgeq.grid":
        return Tables(given["codes"], given["scale"], given["zero"])
    if op(weight) == "aten.slice":
        source = tables_of(given["self"])
        return Tables(*(None if table is None else _like(weight, table, *weight.args[1:]) for table in source))
    parts = [tables_of(part) for part in given["tensors"]]
    columns = list(zip(*parts, strict=True))
    return Tables(*(None if column[0] is None else _like(weight, list(column), 0) for column in columns))


def _sources(weight: fx.Node) -> dict[str, int]:
    """The checkpoint's tensors in a weight, or in what its grid was made of: name -> rank."""
    if weight.op == "get_attr":
        return {str(leaf.target): value(leaf).dim() for leaf in stored(weight)} | weight.meta.get(SOURCES, {})
    found: dict[str, int] = {}
    for node in weight.all_input_nodes:
        found |= _sources(node)
    return found


def _like(node: fx.Node, *args: Any) -> fx.Node:
    """The same op on other operands."""
    assert isinstance(node.target, torch._ops.OpOverload)
    return insert(node.graph, str(node.target), *args, like=node)


def _check(
    linear: fx.Node, codes: Tensor, scale: Tensor, zero: Tensor | None, fmt: WeightFormat, width: int | None
) -> None:  # fmt: skip
    rows, columns = (int(size) for size in value(arguments(linear)["weight"]).shape)
    columns = width or columns
    groups = -(-columns // (fmt.group_size or columns))
    wanted: list[tuple[str, Tensor | None, torch.dtype, tuple[int, ...]]] = [
        ("codes", codes, torch.uint8, (rows, columns)),
        ("scale", scale, torch.float16, (rows, groups * fmt.meaning.numbers)),
    ]
    if (zero is None) != fmt.symmetric or fmt.is_float:
        raise UsageError(f"{site(linear)}: {fmt} takes {'no' if fmt.symmetric or fmt.is_float else ''} zero points")
    if zero is not None:
        wanted.append(("zero", zero, getattr(torch, fmt.zero_type), (rows, groups)))
    for name, held, dtype, shape in wanted:
        if held is not None and (held.dtype != dtype or tuple(held.shape) != shape):
            found = f"{held.dtype} {list(held.shape)}"
            raise UsageError(f"{site(linear)}: {name} of {fmt} is {found}, expected {dtype} {list(shape)}")
    if int(codes.max()) >= fmt.codes or not torch.isfinite(scale).all():
        raise UsageError(f"{site(linear)}: codes beyond the {fmt.codes} of {fmt}, or scales that are not finite")


def _table(gm: fx.GraphModule, held: Tensor, linear: fx.Node, name: str, sources: dict[str, int]) -> fx.Node:
    """A stored constant named after the linear; it stands before every call, as others may come to read it."""
    stem = f"{hf_name(linear) or 'linear'}.{name}".replace(".", "_")
    taken = sum(key == stem or key.startswith(f"{stem}__") for key in gm._buffers)
    key = f"{stem}__{taken}" if taken else stem
    gm.register_buffer(key, held.detach().contiguous())
    first = next(node for node in gm.graph.nodes if node.op == "call_function")
    with gm.graph.inserting_before(first):
        node = gm.graph.create_node("get_attr", key, name=key)
    shape = tuple(held.shape)
    node.meta.update(val=value(linear).new_empty(shape, dtype=held.dtype), hf=hf_name(linear), **{SOURCES: sources})
    return node
