"""The algebra of layout: where each element of a chain of layout ops comes from, as sizes and strides.

A chain of reshape, permute, slice and select over a contiguous root is a list of factors (size, stride) an axis plus an
offset. Factors say at once whether a chain does nothing, moves whole axes, or picks features of each row; `canonical`
then writes it as: features of the root's last axis, one reshape, one permute, one reshape, each where needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple


class Factor(NamedTuple):
    """size steps of `stride` elements of the root."""

    size: int
    stride: int


@dataclass(frozen=True)
class Layout:
    """axes: for each axis its factors, outermost first, none of size 1; offset: of the first element in the root."""

    axes: tuple[tuple[Factor, ...], ...]
    offset: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis."""
        return tuple(prod(f.size for f in axis) for axis in self.axes)

    @property
    def factors(self) -> list[Factor]:
        """All factors, in order of the elements."""
        return [factor for axis in self.axes for factor in axis]


@dataclass(frozen=True)
class Steps:
    """What a chain amounts to; None where a step does nothing.

    features: kept indices of the root's last axis; then reshape to `before`, permute by `order`, reshape to `after`.
    """

    features: tuple[int, ...] | None
    before: tuple[int, ...] | None
    order: tuple[int, ...] | None
    after: tuple[int, ...] | None

    @property
    def count(self) -> int:
        """Number of ops."""
        return sum(step is not None for step in (self.features, self.before, self.order, self.after))


def contiguous(shape: tuple[int, ...]) -> Layout:
    """The layout of a root."""
    strides = [prod(shape[i + 1 :]) for i in range(len(shape))]
    return Layout(tuple((Factor(n, s),) if n > 1 else () for n, s in zip(shape, strides, strict=True)))


def reshape(layout: Layout, sizes: tuple[int, ...]) -> Layout | None:
    """None when a new axis would cut a factor unevenly."""
    rest = layout.factors[::-1]
    axes = []
    for size in sizes:
        axis = _take(rest, size)
        if axis is None:
            return None
        axes.append(axis)
    return Layout(tuple(axes), layout.offset)


def _take(rest: list[Factor], size: int) -> tuple[Factor, ...] | None:
    """Factors whose sizes multiply to `size`, taken (and cut) from the end of `rest`."""
    axis = []
    while size > 1:
        if not rest:
            return None
        factor = rest.pop()
        if factor.size > size:
            if factor.size % size:
                return None
            inner = factor.size // size
            rest.append(Factor(inner, factor.stride))
            factor = Factor(size, factor.stride * inner)
        elif size % factor.size:
            return None
        axis.append(factor)
        size //= factor.size
    return tuple(axis)


def permute(layout: Layout, order: tuple[int, ...]) -> Layout:
    """Axes in another order."""
    return Layout(tuple(layout.axes[i] for i in order), layout.offset)


def cut(layout: Layout, axis: int, start: int, stop: int) -> Layout | None:
    """Indices start..stop-1 of an axis; None where the range cuts through its factors."""
    whole = merged(list(layout.axes[axis]))
    if len(whole) == 0:
        return layout if (start, stop) == (0, 1) else None
    kept: tuple[Factor, ...]
    if len(whole) == 1:
        kept, offset = (Factor(stop - start, whole[0].stride),), start * whole[0].stride
    else:
        inner = prod(f.size for f in whole[1:])
        if start % inner or stop % inner:
            return None
        kept, offset = (Factor((stop - start) // inner, whole[0].stride), *whole[1:]), start // inner * whole[0].stride
    kept = tuple(f for f in kept if f.size > 1)
    return Layout((*layout.axes[:axis], kept, *layout.axes[axis + 1 :]), layout.offset + offset)


def drop(layout: Layout, axis: int) -> Layout:
    """Without an axis of size 1."""
    return Layout(layout.axes[:axis] + layout.axes[axis + 1 :], layout.offset)


def merged(factors: list[Factor]) -> list[Factor]:
    """Neighbours that continue each other are one factor."""
    out: list[Factor] = []
    for factor in factors:
        if out and out[-1].stride == factor.size * factor.stride:
            factor = Factor(out.pop().size * factor.size, factor.stride)
        out.append(factor)
    return out


def canonical(layout: Layout, root: tuple[int, ...]) -> Steps | None:
    """The steps that lead from a contiguous root to the layout; None if it does not keep every row of the root."""
    width = root[-1] if root else 1
    fine = _split_at(merged(layout.factors), width)
    inside = None if fine is None else sorted((f for f in fine if f.stride < width), key=lambda f: -f.stride)
    if fine is None or inside is None or layout.offset >= width:
        return None
    if prod(f.size for f in fine if f.stride >= width) != prod(root[:-1]):
        return None
    features = _indices(inside, layout.offset)
    kept = len(features)
    whole = features == list(range(width))
    dense = {f: prod(g.size for g in inside[i + 1 :]) for i, f in enumerate(inside)}

    def packed(f: Factor) -> Factor:
        return Factor(f.size, dense[f] if f.stride < width else f.stride // width * kept)

    source = (*root[:-1], kept) if root else ()
    factors = [packed(f) for f in fine]
    candidates = [_moves(cut, source, layout.shape) for cut in (merged(factors), _on_axes(factors, source))]
    found = min((c for c in candidates if c is not None), key=lambda c: sum(s is not None for s in c), default=None)
    return None if found is None else Steps(None if whole else tuple(features), *found)


def _split_at(factors: list[Factor], width: int) -> list[Factor] | None:
    """Every factor either within a row of `width` elements or over whole rows."""
    out = []
    for f in factors:
        if f.stride % width and f.stride * (f.size - 1) >= width:
            inner, rest = divmod(width, f.stride)
            if rest or f.size % inner:
                return None
            out += [Factor(f.size // inner, width), Factor(inner, f.stride)]
        else:
            out.append(f)
    return [f for f in out if f.size > 1]


def _indices(factors: list[Factor], offset: int) -> list[int]:
    found = [offset]
    for f in factors:
        found = [i + k * f.stride for i in found for k in range(f.size)]
    return found


def _on_axes(factors: list[Factor], root: tuple[int, ...]) -> list[Factor]:
    """Factors cut so that none spans two axes of the root, as far as they can be."""
    out = []
    for f in factors:
        pieces = []
        for axis in contiguous(root).axes:
            for whole in axis:
                if f.stride < whole.stride < f.stride * f.size and not f.stride * f.size % whole.stride:
                    inner = whole.stride // f.stride
                    if not whole.stride % f.stride and not f.size % inner:
                        pieces.append(Factor(f.size // inner, whole.stride))
                        f = Factor(inner, f.stride)
        out += [*pieces, f]
    return out


Moves = tuple[tuple[int, ...] | None, tuple[int, ...] | None, tuple[int, ...] | None]


def _moves(factors: list[Factor], source: tuple[int, ...], target: tuple[int, ...]) -> Moves | None:
    """(before, order, after) for a permutation of the source's elements, given as factors in target order."""
    ordered = sorted(factors, key=lambda f: -f.stride)
    if [f.stride for f in ordered] != [prod(g.size for g in ordered[i + 1 :]) for i in range(len(ordered))]:
        return None
    if factors == ordered:
        return None, None, target if target != source else None
    before = tuple(f.size for f in ordered)
    moved = tuple(f.size for f in factors)
    order: Any = tuple(ordered.index(f) for f in factors)
    direct = _with_ones(source, target, before, order)
    if direct is not None:
        return None, direct, None
    return before if before != source else None, order, target if target != moved else None


def _with_ones(
    source: tuple[int, ...], target: tuple[int, ...], before: tuple[int, ...], order: tuple[int, ...]
) -> tuple[int, ...] | None:
    """One permutation of the source's own axes, those of size 1 included, when that is all it takes."""
    real = [i for i, n in enumerate(source) if n != 1]
    if tuple(source[i] for i in real) != before or len(source) != len(target):
        return None
    moved, ones = iter(real[i] for i in order), iter([i for i, n in enumerate(source) if n == 1])
    direct = [next(ones, None) if n == 1 else next(moved, None) for n in target]
    if None in direct or tuple(source[i] for i in direct) != target:  # type: ignore[index]
        return None
    return tuple(direct)  # type: ignore[arg-type]
