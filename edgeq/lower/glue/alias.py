"""Groups that only rename memory: reshapes of dense tensors, leading slices."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from edgeq.lower.glue.expression import dtype_of, kind, substitute
from edgeq.lower.glue.group import Group
from edgeq.lower.glue.memory import Layout
from edgeq.lower.glue.space import Space

Var = Any
ALIGNED = 16  # offsets are whole 64-byte lines


def same_memory(group: Group, layouts: Mapping[Var, Layout], target: Layout) -> tuple[Var, int] | None:
    """(source, offset) when every element of the root lies in one source at its own place, moved by a constant."""
    if group.root.reduce or group.local or not prod(group.root.shape):
        return None
    space = Space()
    inlined = {s.buffer: s for s in group.inlined}
    binding = {v: space.symbol(n) for v, n in zip(group.root.vars, group.root.shape, strict=True)}
    place = target.flat([binding[v] for v in group.root.vars])
    e = group.root.value
    while True:
        if (
            kind(e) == "Cast"
            and dtype_of(e) != "bool"
            and dtype_of(e.value).startswith("float") == dtype_of(e).startswith("float")
        ):
            e = e.value
        elif kind(e) == "TensorLoad" and e.source in inlined and not inlined[e.source].reduce:
            stage = inlined[e.source]
            indices = [space.simplify(substitute(i, binding)) for i in e.indices]
            e, binding = stage.value, dict(zip(stage.vars, indices, strict=True))
        else:
            break
    if kind(e) != "TensorLoad" or e.source not in layouts:
        return None
    source = layouts[e.source]
    index = source.flat([space.simplify(substitute(i, binding)) for i in e.indices])
    offset = space.simplify(index - place)
    if kind(offset) != "IntImm" or int(offset.value) % ALIGNED or not _pads_kept(source, target):
        return None
    return e.source, int(offset.value)


def _pads_kept(source: Layout, target: Layout) -> bool:
    """Lanes that must be zero in the target are pad lanes of the source."""
    return target.row_stride == target.width or (source.row_stride, source.width) == (target.row_stride, target.width)
