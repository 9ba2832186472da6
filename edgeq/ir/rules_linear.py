"""What linears, embeddings and weights on grids demand of their arguments."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import fx

from edgeq.errors import EdgeqError
from edgeq.ir.graph import arguments, is_weight, op, value
from edgeq.ir.ops.fake_quant import BITS
from edgeq.ir.ops.matrix import ACTS, SIGNS
from edgeq.ir.rules import shape, vector, width


def _matrix(node: fx.Node) -> Iterator[str]:
    if not is_weight(node):
        yield f"w %{node.name} is computed from inputs; it must be a weight"
    elif value(node).dim() != 2:
        yield f"w %{node.name} has rank {value(node).dim()}, expected 2"


def linear(node: fx.Node) -> Iterator[str]:
    """`aten.linear` and `edgeq.qlinear`: w is a weight `[N, K]`, bias a weight `[N]`, x `[..., K]`."""
    given = arguments(node)
    x, w = given.get("input", given.get("x")), given.get("weight" if op(node) == "aten.linear" else "w")
    problems = list(_matrix(w))
    yield from problems
    if problems:
        return
    if width(w) != width(x):
        yield f"x has {width(x)} channels, w takes {width(w)}"
    yield from vector("bias", given["bias"], int(value(w).shape[0]))


def qlinear(node: fx.Node) -> Iterator[str]:
    """A linear whose weight format and activation type are known."""
    yield from linear(node)
    yield from _format(node)
    given = arguments(node)
    allowed = ("a16",) if _float_only(given["weight"]) else [a for a in ACTS if a != "a1" or given["weight"] == SIGNS]
    if given["act"] not in allowed:
        yield f"act {given['act']!r} with weight {given['weight']!r}; expected {' or '.join(allowed)}"
    if (given["act"] == "a8s") != (given["x_scale"] is not None):
        yield f"act {given['act']!r} and x_scale: a8s takes one, the others take none"
    yield from vector("x_scale", given["x_scale"], 1)
    if given["w_scale"] is not None:
        yield from _tables(given["w"], given["w_scale"], given["w_zero"], given["weight"])
    elif given["w_zero"] is not None:
        yield "w_zero without w_scale"


def grid(node: fx.Node) -> Iterator[str]:
    """Codes, scales and zero points of one integer format, all of them weights."""
    given = arguments(node)
    yield from _format(node)
    yield from _tables(given["codes"], given["scale"], given["zero"], given["weight"])


def _tables(codes: fx.Node, scale: fx.Node, zero: fx.Node | None, weight: str) -> Iterator[str]:
    """codes u8 `[N, K]`, scale f16 `[N, KG * numbers]`, zero points u8 or offsets f16 `[N, KG]` where there are."""
    from edgeq.quant.format import WeightFormat

    try:
        fmt = WeightFormat.parse(weight)
    except EdgeqError:
        return  # said already
    if fmt.is_float:
        yield f"{weight} has no codes and scales"
        return
    if (zero is None) != fmt.symmetric:
        yield f"{weight} takes {'no zero points' if fmt.symmetric else 'zero points'}"
    rows, columns = value(codes).shape
    groups = -(-int(columns) // (fmt.group_size or int(columns)))
    yield from _table("codes", codes, torch.uint8, shape(codes))
    yield from _table("scale", scale, torch.float16, [str(rows), str(groups * fmt.meaning.numbers)])
    if zero is not None:
        yield from _table("zero", zero, getattr(torch, fmt.zero_type), [str(rows), str(groups)])


def _table(name: str, node: fx.Node, dtype: torch.dtype, expected: list[str]) -> Iterator[str]:
    if not is_weight(node):
        yield f"{name} %{node.name} is computed from inputs; it must be a weight"
    if value(node).dtype != dtype or shape(node) != expected:
        yield f"{name} %{node.name} is {value(node).dtype} {shape(node)}, expected {dtype} {expected}"


def fake_quant(node: fx.Node) -> Iterator[str]:
    """One scale, a weight; 2 to 8 bits."""
    given = arguments(node)
    yield from vector("scale", given["scale"], 1)
    if given["bits"] not in BITS:
        yield f"{given['bits']} bits; expected {BITS[0]} to {BITS[-1]}"


def _float_only(weight: str) -> bool:
    """Whether activations must stay in float; not of a text that is no format, which is said elsewhere."""
    from edgeq.quant.format import WeightFormat

    try:
        return WeightFormat.parse(weight).float_only
    except EdgeqError:
        return False


def _format(node: fx.Node) -> Iterator[str]:
    from edgeq.quant.format import WeightFormat

    try:
        WeightFormat.parse(arguments(node)["weight"])
    except EdgeqError as error:
        yield str(error)


def embedding(node: fx.Node) -> Iterator[str]:
    """`aten.embedding` and `edgeq.qembedding`: integer ids into the rows of a weight."""
    given = arguments(node)
    ids, w = (given["indices"], given["weight"]) if op(node) == "aten.embedding" else (given["ids"], given["w"])
    yield from _matrix(w)
    if value(ids).dtype not in (torch.int64, torch.int32):
        yield f"ids %{ids.name} are {value(ids).dtype}; expected integers"


def qembedding(node: fx.Node) -> Iterator[str]:
    """An embedding whose weight format is known."""
    yield from embedding(node)
    yield from _format(node)
    given = arguments(node)
    if given["w_scale"] is not None:
        yield from _tables(given["w"], given["w_scale"], given["w_zero"], given["weight"])
    elif given["w_zero"] is not None:
        yield "w_zero without w_scale"
