"""R2: values in another basis, the same for every head: attention mixes rows only, so the linear after it undoes it."""

from __future__ import annotations

from torch import fx

from edgeq.ir.graph import arguments, calls, site
from edgeq.passes.folds.fold_points import FoldPoint, fold_points
from edgeq.passes.pass_ import Site
from edgeq.passes.rotations.rotation import random_rotation, rotate_reader, rotate_writer


def rotate_heads(gm: fx.GraphModule, seed: int) -> tuple[list[Site], list[Site]]:
    """Rotate the values of every attention whose values are a linear's and that linears alone read."""
    points, declined = fold_points(gm, ("value",))
    changed = [_rotate(gm, point, seed) for point in points if not point.added]
    refused = [Site(point.module, "something is added to its result") for point in points if point.added]
    attentions = {site(node) for node in calls(gm, "edgeq.attention")}
    return changed, [*refused, *(one for one in declined if one.module in attentions)]


def _rotate(gm: fx.GraphModule, point: FoldPoint, seed: int) -> Site:
    heads = int(arguments(point.activation)["heads"])
    size = point.channels // heads
    rotate_writer(point.producer, random_rotation(gm, point.activation, size, seed, point.kv_heads))
    outer = random_rotation(gm, point.activation, size, seed, heads)
    for linear in point.consumers:
        rotate_reader(linear, outer)
    return Site(point.module, f"values of {size} channels a head in blocks of {outer.size}")
