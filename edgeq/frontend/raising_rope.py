"""Rotary position embeddings of every spelling -> `edgeq::rope` on flat token-major tensors.

Spellings: rotate-half `x*cos + cat(-x2, x1)*sin`; split `cat(a*cos - b*sin, b*cos + a*sin)`; either on the first
channels of a head only, with the rest concatenated behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import fx

from edgeq.frontend.heads import as_flat, from_flat, heads_of
from edgeq.frontend.match import base, is_number, match, rank, shape
from edgeq.frontend.rewrite import call, replace
from edgeq.ir.graph import is_weight

eq = torch.ops.edgeq


class Angles(NamedTuple):
    """A cos or sin operand, cos(pos * inv_freq) * scale; full: both halves of the channels are there."""

    pos: fx.Node
    inv_freq: fx.Node
    scale: float
    full: bool


def raise_rope(node: fx.Node) -> bool:
    """Any spelling; the rotated tensor has a head axis."""
    found = _rotate_half(node) or _split(node)
    if found is None:
        return False
    x, angles, out = found
    x, out = _with_rest(x, out)
    heads = heads_of(x)
    if heads is None:
        return False
    options = {"heads": heads.heads, "scale": angles.scale}
    flat = call(node, eq.rope.default, as_flat(node, x, heads), angles.pos, angles.inv_freq, **options)
    return replace(out, from_flat(node, flat, heads))


def _rotate_half(node: fx.Node) -> tuple[fx.Node, Angles, fx.Node] | None:
    found = match(("add", ("mul", "x", "c"), ("mul", "r", "s")), node)
    if found is None:
        return None
    for x, c, r, s in _orders(found):
        if rank(x) == 4 and _is_rotated(r, x):
            cos, sin = _angles(c, "cos"), _angles(s, "sin")
            if cos and cos == sin and cos.full:
                return x, cos, node
    return None


def _orders(found: dict[str, Any]) -> Iterator[tuple[Any, Any, Any, Any]]:
    x, c, r, s = found["x"], found["c"], found["r"], found["s"]
    for p, q in ((x, c), (c, x)):
        for u, v in ((r, s), (s, r)):
            yield p, q, u, v
            yield u, v, p, q


def _is_rotated(r: Any, x: fx.Node) -> bool:
    """r = cat([-x[half:], x[:half]], -1)"""
    if base(r) != "cat" or len(r.args[0]) != 2 or base(r.args[0][0]) != "neg":
        return False
    second, first = r.args[0][0].args[0], r.args[0][1]
    return _halves(first, second) is x


def _halves(first: Any, second: Any) -> fx.Node | None:
    """The tensor whose last axis was cut into (first, second), by slices or by chunk or split."""
    if base(first) == "slice" and base(second) == "slice":
        x = first.args[0]
        half = shape(x)[-1] // 2
        whole = _is_part(first, x, 0, half) and _is_part(second, x, half, 2 * half)
        return x if whole and shape(x)[-1] == 2 * half else None
    if base(first) == "getitem" == base(second) and first.args[0] is second.args[0]:
        cut = first.args[0]
        order = (first.args[1], second.args[1]) == (0, 1)
        halved = shape(first)[-1] == shape(second)[-1] and 2 * shape(first)[-1] == shape(cut.args[0])[-1]
        return cut.args[0] if base(cut) in ("chunk", "split", "split_with_sizes") and order and halved else None
    return None


def _is_part(part: Any, x: fx.Node, low: int, high: int) -> bool:
    """part = x[..., low:high]"""
    if base(part) != "slice" or part.args[0] is not x or len(part.args) != 4:
        return False
    width = shape(x)[-1]
    last = part.args[1] in (-1, rank(x) - 1)
    return last and (part.args[2] or 0) % width == low and min(part.args[3], width) == high


def _split(node: fx.Node) -> tuple[fx.Node, Angles, fx.Node] | None:
    """cat([a*c - b*s, b*c + a*s], -1) with a, b the halves of x"""
    if base(node) != "cat" or len(node.args[0]) != 2:
        return None
    found = match(("sub", ("mul", "a", "c"), ("mul", "b", "s")), node.args[0][0])
    found = found and match(("add", ("mul", "b", "c"), ("mul", "a", "s")), node.args[0][1], found)
    if not found:
        return None
    for a, c, b, s in _orders({"x": found["a"], "c": found["c"], "r": found["b"], "s": found["s"]}):
        x, cos, sin = _halves(a, b), _angles(c, "cos"), _angles(s, "sin")
        if x is not None and cos and cos == sin and not cos.full:
            return x, cos, node
    return None


def _with_rest(x: fx.Node, out: fx.Node) -> tuple[fx.Node, fx.Node]:
    """Partial rotary: out feeds cat([out, whole[..., k:]]) where x = whole[..., :k]: then (whole, that cat)."""
    if base(x) == "slice" and len(out.users) == 1:
        whole, joined = x.args[0], next(iter(out.users))
        parts = joined.args[0] if base(joined) == "cat" else ()
        width, k = shape(whole)[-1], shape(x)[-1]
        if len(parts) == 2 and parts[0] is out and _is_part(x, whole, 0, k) and _is_part(parts[1], whole, k, width):
            return whole, joined
    if base(x) == "getitem" and x.args[1] == 0 and len(out.users) == 1:
        cut, joined = x.args[0], next(iter(out.users))
        parts = joined.args[0] if base(joined) == "cat" else ()
        if len(parts) == 2 and parts[0] is out and base(parts[1]) == "getitem" and parts[1].args == (cut, 1):
            return cut.args[0], joined
    return x, out


def _angles(operand: Any, kind: str) -> Angles | None:
    """Follow a cos/sin operand back to positions and inverse frequencies."""
    scale = 1.0
    while base(operand) in ("unsqueeze", "to", "mul"):
        if base(operand) == "mul":
            if not is_number(operand.args[1]):
                return None
            scale *= operand.args[1]
        operand = operand.args[0]
    if base(operand) != kind:
        return None
    angle, full = _through(operand.args[0], ("to",)), False
    if base(angle) == "cat" and len(angle.args[0]) == 2 and angle.args[0][0] is angle.args[0][1]:
        angle, full = angle.args[0][0], True
    return _outer_product(angle, scale, full)


def _outer_product(angle: Any, scale: float, full: bool) -> Angles | None:
    """(inv_freq[:, None] @ pos[None]).T or pos[:, None] * inv_freq"""
    if base(angle) == "transpose":
        angle = angle.args[0]
    if base(angle) not in ("matmul", "bmm", "mul"):
        return None
    pair = [_through(x, ("unsqueeze", "to", "expand", "reshape", "slice")) for x in angle.args[:2]]
    freq = [x for x in pair if is_weight(x) and rank(x) == 1]
    pos = [x for x in pair if not is_weight(x) and rank(x) == 2]
    return Angles(pos[0], freq[0], scale, full) if len(freq) == len(pos) == 1 else None


def _through(x: Any, kinds: tuple[str, ...]) -> Any:
    while base(x) in kinds:
        x = x.args[0]
    return x
