"""What each op of the dialect demands of its arguments: one generator of complaints an op (also `rules_*.py`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import dropwhile

import torch
from torch import fx

from edgeq.ir.graph import arguments, is_weight, value
from edgeq.ir.hadamard import block_size
from edgeq.ir.ops.activation import ACTIVATIONS

Rule = Callable[[fx.Node], Iterator[str]]


def shape(node: fx.Node) -> list[str]:
    """Sizes as text: comparing symbolic sizes must never add assumptions about them."""
    return [str(size) for size in value(node).shape]


def width(node: fx.Node) -> int:
    """Size of the last axis, which is always a number."""
    return int(value(node).shape[-1])


def vector(name: str, node: fx.Node | None, size: int) -> Iterator[str]:
    """What keeps a node, where there is one, from being a weight of one axis of this size."""
    if node is None:
        return
    if not is_weight(node):
        yield f"{name} %{node.name} is computed from inputs; it must be a weight"
    elif shape(node) != [str(size)]:
        yield f"{name} %{node.name} has shape {shape(node)}, expected [{size}]"


def layer_norm(node: fx.Node) -> Iterator[str]:
    """Normalises the last axis alone."""
    given = arguments(node)
    if [int(size) for size in given["normalized_shape"]] != [width(given["input"])]:
        yield f"normalises {given['normalized_shape']}; only the last axis ([{width(given['input'])}]) is supported"
    for name in ("weight", "bias"):
        yield from vector(name, given[name], width(given["input"]))


def arithmetic(node: fx.Node) -> Iterator[str]:
    """add, mul, div: with a number, a weight vector, or an activation of the same shape."""
    given = arguments(node)
    if given.get("alpha", 1) != 1:
        yield f"alpha = {given['alpha']}; expected 1"
    if given.get("rounding_mode") is not None:
        yield "rounds its quotient"
    sides = [side for side in (given["self"], given["other"]) if isinstance(side, fx.Node)]
    for side in sides:
        allowed = [shape(node)[-1:], ["1"], []] if is_weight(side) else []
        if _unpadded(side) != _unpadded(node) and shape(side) not in allowed:
            yield f"%{side.name} {shape(side)} is broadcast to {shape(node)}; only weight vectors may be"


def _unpadded(node: fx.Node) -> list[str]:
    """Shape without leading axes of size 1."""
    return list(dropwhile("1".__eq__, shape(node)))


def last_axis_slice(node: fx.Node) -> Iterator[str]:
    """Activations are sliced on the last axis, without gaps."""
    given = arguments(node)
    axes = value(given["self"]).dim()
    if given["dim"] % axes != axes - 1 or given["step"] != 1:
        yield f"slices axis {given['dim']} with step {given['step']}; only the last axis without gaps is supported"


def gelu(node: fx.Node) -> Iterator[str]:
    """Exact or tanh."""
    if arguments(node)["approximate"] not in ("none", "tanh"):
        yield f"approximate = {arguments(node)['approximate']!r}; expected none or tanh"


def unary(node: fx.Node) -> Iterator[str]:
    """One argument, no conditions."""
    return iter(())


def rms_norm(node: fx.Node) -> Iterator[str]:
    """`heads` equal slices; w and b are weights of one slice's size."""
    given = arguments(node)
    size, rest = divmod(width(given["x"]), given["heads"])
    if rest:
        yield f"{width(given['x'])} channels do not divide into {given['heads']} heads"
    yield from vector("w", given["w"], size)
    yield from vector("b", given["b"], size)


def rope(node: fx.Node) -> Iterator[str]:
    """inv_freq is a constant vector of at most half a head; positions are integers `[B, S]`."""
    given = arguments(node)
    size, rest = divmod(width(given["x"]), given["heads"])
    if rest:
        yield f"{width(given['x'])} channels do not divide into {given['heads']} heads"
    if not is_weight(given["inv_freq"]) or value(given["inv_freq"]).dim() != 1:
        yield f"inv_freq %{given['inv_freq'].name} must be a constant vector"
    elif 2 * width(given["inv_freq"]) > size:
        yield f"rotates {2 * width(given['inv_freq'])} of {size} channels a head"
    if value(given["pos"]).dim() != 2 or value(given["pos"]).is_floating_point():
        yield f"pos %{given['pos'].name} must be integers [B, S]"


def gated(node: fx.Node) -> Iterator[str]:
    """Equal shapes, a known activation."""
    given = arguments(node)
    if shape(given["gate"]) != shape(given["up"]):
        yield f"gate {shape(given['gate'])} and up {shape(given['up'])} differ in shape"
    if given["act"] not in ACTIVATIONS:
        yield f"act = {given['act']!r}; expected one of {', '.join(ACTIVATIONS)}"


def hadamard(node: fx.Node) -> Iterator[str]:
    """A size that a matrix is known of and that divides the width."""
    given = arguments(node)
    size, channels = int(given["size"]), width(given["x"])
    if size < 1 or channels % size:
        yield f"{channels} channels do not divide into slices of {size}"
    elif block_size(size) != size:
        yield f"no Hadamard matrix of order {size} is known"


def columns(node: fx.Node) -> Iterator[str]:
    """index is a weight, i32 `[count]`; where the graph holds it, each is -1 or a channel of x."""
    given = arguments(node)
    index, channels = given["index"], width(given["x"])
    if not is_weight(index) or value(index).dtype != torch.int32 or value(index).dim() != 1:
        yield f"index %{index.name} must be a weight, integers i32 [count]"
        return
    held = getattr(index.graph.owning_module, str(index.target), None) if index.op == "get_attr" else None
    if isinstance(held, torch.Tensor) and held.device.type != "meta":
        low, high = int(held.min()), int(held.max())
        if low < -1 or high >= channels:
            yield f"index %{index.name} reaches from {low} to {high}; x has {channels} channels"


def im2col(node: fx.Node) -> Iterator[str]:
    """x is channels-last, options are pairs."""
    given = arguments(node)
    if value(given["x"]).dim() != 4:
        yield f"x has rank {value(given['x']).dim()}, expected [B, H, W, C]"
    for name in ("kernel", "stride", "padding", "dilation"):
        if len(given[name]) != 2:
            yield f"{name} = {given[name]}; expected [vertical, horizontal]"


def last_row(node: fx.Node) -> Iterator[str]:
    """n_valid is one number."""
    if shape(arguments(node)["n_valid"]) != ["1"]:
        yield f"n_valid has shape {shape(arguments(node)['n_valid'])}, expected [1]"


def position(node: fx.Node) -> Iterator[str]:
    """Positions that a model counts itself (before caching): integers only."""
    held = value(node)
    if isinstance(held, torch.Tensor) and held.is_floating_point():
        yield "computes floats; only integer positions may be counted"
