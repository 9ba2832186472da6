"""Rotary position embeddings of every spelling -> `edgeq::rope` on flat token-major tensors.

Spellings: rotate-half `x*cos + cat(-x2, x1)*sin`; split `cat(a*cos - b*sin, b*cos + a*sin)`; neighbouring pairs
`x*cos + interleave(-x[1::2], x[0::2])*sin`, which are brought to halves by an order of features that `raising_pairs`
removes; each of them on the first channels of a head only, with the rest concatenated behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import fx

from edgeq.frontend.heads import as_flat, from_flat, heads_of
from edgeq.frontend.match import base, is_number, match, rank, same_dims, shape
from edgeq.frontend.raising_pairs import halves_from_pairs, pairs_from_halves
from edgeq.frontend.rewrite import call, replace
from edgeq.ir.graph import is_weight

eq = torch.ops.edgeq


class Angles(NamedTuple):
    """A cos or sin operand, cos(pos * inv_freq) * scale; layout: how angles lie on channels.

    layout: "once" (half as many as channels), "halves" (f0 f1 .. f0 f1 ..) or "pairs" (f0 f0 f1 f1 ..).
    """

    pos: fx.Node
    inv_freq: fx.Node
    scale: float
    layout: str


def raise_rope(node: fx.Node) -> bool:
    """Any spelling; the rotated tensor has a head axis."""
    found = _rotate(node) or _split(node)
    if found is None:
        return False
    x, angles, out = found
    rotated = shape(x)[-1]
    x, out = _with_rest(x, out)
    heads = heads_of(x)
    if heads is None:
        return False
    flat = as_flat(node, x, heads)
    if angles.layout == "pairs":
        flat = halves_from_pairs(node, flat, heads, rotated)
    options = {"heads": heads.heads, "scale": angles.scale}
    flat = call(node, eq.rope.default, flat, angles.pos, angles.inv_freq, **options)
    if angles.layout == "pairs":
        flat = pairs_from_halves(node, flat, heads, rotated)
    return replace(out, from_flat(node, flat, heads))


def _rotate(node: fx.Node) -> tuple[fx.Node, Angles, fx.Node] | None:
    """x*cos + rotated(x)*sin, by halves or by pairs"""
    found = match(("add", ("mul", "x", "c"), ("mul", "r", "s")), node)
    if found is None:
        return None
    for x, c, r, s in _orders(found):
        layout = _rotation(r, x) if rank(x) == 4 else None
        if layout:
            cos, sin = _angles(c, "cos"), _angles(s, "sin")
            if cos and cos == sin and cos.layout == layout:
                return x, cos, node
    return None


def _orders(found: dict[str, Any]) -> Iterator[tuple[Any, Any, Any, Any]]:
    x, c, r, s = found["x"], found["c"], found["r"], found["s"]
    for p, q in ((x, c), (c, x)):
        for u, v in ((r, s), (s, r)):
            yield p, q, u, v
            yield u, v, p, q


def _rotation(r: Any, x: fx.Node) -> str | None:
    """ "halves" of r = cat([-x[half:], x[:half]], -1), "pairs" of r = reshape(stack([-x[1::2], x[0::2]], -1))"""
    joined = r.args[0] if base(r) == "reshape" else r
    if base(joined) not in ("cat", "stack") or len(joined.args[0]) != 2 or base(joined.args[0][0]) != "neg":
        return None
    second, first = joined.args[0][0].args[0], joined.args[0][1]
    if base(joined) == "cat":
        return "halves" if joined is r and _halves(first, second) is x else None
    in_pairs = joined.args[1:] in ((-1,), (4,)) and _is_every_other(first, x, 0) and _is_every_other(second, x, 1)
    return "pairs" if joined is not r and in_pairs and same_dims(shape(r), shape(x)) else None


def _is_every_other(part: Any, x: fx.Node, first: int) -> bool:
    """part = x[..., first::2]"""
    if base(part) != "slice" or part.args[0] is not x or len(part.args) != 5:
        return False
    axis, start, stop, step = part.args[1:]
    return axis in (-1, rank(x) - 1) and (start or 0) == first and stop >= shape(x)[-1] and step == 2


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
        if x is not None and cos and cos == sin and cos.layout == "once":
            return x, cos, node
    return None


def _with_rest(x: fx.Node, out: fx.Node) -> tuple[fx.Node, fx.Node]:
    """Partial rotary: out feeds cat([out, whole[..., k:]]) where x = whole[..., :k]: then (whole, that cat)."""
    if base(x) == "slice" and len(out.users) == 1:
        whole, joined = x.args[0], next(iter(out.users))
        parts = list(joined.args[0]) if base(joined) == "cat" else []
        width, k = shape(whole)[-1], shape(x)[-1]
        if len(parts) == 2 and parts[0] is out and _is_part(x, whole, 0, k) and _is_part(parts[1], whole, k, width):
            return whole, joined
    if base(x) == "getitem" and x.args[1] == 0 and len(out.users) == 1:
        cut, joined = x.args[0], next(iter(out.users))
        parts = list(joined.args[0]) if base(joined) == "cat" else []
        if len(parts) == 2 and parts[0] is out and base(parts[1]) == "getitem" and parts[1].args == (cut, 1):
            return cut.args[0], joined
    return x, out


def _angles(operand: Any, kind: str) -> Angles | None:
    """Follow a cos/sin operand back to positions and inverse frequencies."""
    scale, layouts = 1.0, []
    while base(operand) in ("unsqueeze", "to", "mul", "repeat_interleave", "slice"):
        if base(operand) == "mul":
            if not is_number(operand.args[1]):
                return None
            scale *= operand.args[1]
        layouts.append(_layout_step(operand))
        operand = operand.args[0]
    if base(operand) != kind:
        return None
    angle = _through(operand.args[0], ("to",))
    while _layout_step(angle):
        layouts.append(_layout_step(angle))
        angle = angle.args[0][0] if base(angle) == "cat" else angle.args[0]
    layout = LAYOUTS.get(tuple(step for step in layouts if step))
    return _outer_product(angle, scale, layout) if layout else None


LAYOUTS = {
    (): "once", ("doubled",): "halves", ("interleaved",): "pairs", ("interleaved", "first half", "doubled"): "pairs",
    ("first half", "doubled"): "once",
}


def _layout_step(node: Any) -> str:
    """What one op does to the last axis of a table of angles; "" for nothing, "other" for what is not understood."""
    if base(node) == "cat":
        return "doubled" if len(node.args[0]) == 2 and node.args[0][0] is node.args[0][1] else "other"
    if base(node) == "repeat_interleave":
        return "interleaved" if node.args[1:] in ((2, -1), (2, 2), (2, 3)) or _repeats_last(node) else "other"
    if base(node) == "slice":
        return "first half" if _is_part(node, node.args[0], 0, shape(node.args[0])[-1] // 2) else "other"
    return ""


def _repeats_last(node: fx.Node) -> bool:
    return node.args[1:] == (2,) and node.kwargs.get("dim") in (-1, rank(node) - 1)


def _outer_product(angle: Any, scale: float, layout: str) -> Angles | None:
    """(inv_freq[:, None] @ pos[None]).T or pos[:, None] * inv_freq"""
    if base(angle) == "transpose":
        angle = angle.args[0]
    if base(angle) not in ("matmul", "bmm", "mul"):
        return None
    pair = [_through(x, ("unsqueeze", "to", "expand", "reshape", "slice")) for x in angle.args[:2]]
    freq = [x for x in pair if is_weight(x) and rank(x) == 1]
    pos = [x for x in pair if not is_weight(x) and rank(x) == 2]
    return Angles(pos[0], freq[0], scale, layout) if len(freq) == len(pos) == 1 else None


def _through(x: Any, kinds: tuple[str, ...]) -> Any:
    while base(x) in kinds:
        x = x.args[0]
    return x
