"""A group as an ordinary kernel: named after what it computes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from tvm import tirx

from edgeq.kernels.kernel import Kernel, Param
from edgeq.kernels.vector import Memory, function
from edgeq.lower.glue.expression import kind, rebuild
from edgeq.lower.glue.group import Group
from edgeq.lower.glue.schedule import Schedule, emit
from edgeq.lower.glue.stage import Stage
from edgeq.targets.isa import Isa

Var = Any
ELEMENT = {"f32": "float32", "i32": "int32"}


def kernel(name: str, schedule: Schedule, reads: list[Var]) -> Kernel:
    """The kernel of a schedule: parameters are what it reads, then what it writes.

    `name` says which ops it came from; equal text of all stages, layouts and cuts gives an equal name.
    """
    group = schedule.group
    buffers = [*reads, group.root.buffer]
    digest = hashlib.sha256(f"{_sources()}\n{describe(schedule, buffers)}".encode()).hexdigest()[:12]
    symbol = f"glue_{_word(name)}_{digest}"
    pointers = {f"a{i}": ELEMENT[schedule.layouts[b].dtype] for i, b in enumerate(reads)}
    pointers["o"] = ELEMENT[schedule.layouts[group.root.buffer].dtype]

    def build(isa: Isa) -> Any:
        def body(lo: Any, hi: Any, *memories: Memory) -> None:
            emit(schedule, dict(zip(buffers, memories, strict=True)), isa, lo, hi)

        return function(symbol, isa, (), pointers, body)

    params = (*(Param(p, "in") for p in list(pointers)[:-1]), Param("o", "out"))
    options = {"ops": name, "shape": group.root.shape, "units": schedule.units}
    return Kernel(symbol, params, build, "rows of the result", 0, products(group), "glue", options)


def products(group: Group) -> int:
    """Multiply-adds of one call over all units."""
    stages = (*group.inlined, *group.local, group.root)
    return sum(s.work for s in stages if s.combine == "add" and kind(s.value) == "Mul")


def describe(schedule: Schedule, buffers: list[Var]) -> str:
    """All that decides the code, as text that does not depend on TVM's choice of names."""
    group = schedule.group
    names = {b: f"b{i}" for i, b in enumerate([*buffers, *(s.buffer for s in (*group.inlined, *group.local))])}
    lines = [f"{names[b]}: {schedule.layouts[b]}" for b in names if b in schedule.layouts]
    lines += [_stage(stage, names) for stage in (*group.inlined, *group.local, group.root)]
    cut = (len(group.inlined), len(group.local), group.prefix, schedule.axis, schedule.axes, schedule.tiles)
    summed = [
        str(v.same_as(schedule.summed))
        for s in (*group.inlined, group.root)
        for v, _ in s.reduce
        if schedule.summed is not None
    ]
    return "\n".join([*lines, str(cut), str((schedule.blocks, schedule.span)), *summed])


def _stage(stage: Stage, names: Mapping[Var, str]) -> str:
    variables = {
        v: tirx.Var(f"v{i}", str(v.ty.dtype)) for i, v in enumerate((*stage.vars, *(v for v, _ in stage.reduce)))
    }
    buffers: dict[Var, Any] = {}

    def rename(e: Any) -> Any:
        if kind(e) == "Var":
            return variables.get(e)
        if kind(e) != "TensorLoad" or e.source not in names:
            return None
        if e.source not in buffers:
            buffers[e.source] = tirx.decl_buffer(list(e.source.shape), str(e.source.dtype), names[e.source])
        return tirx.BufferLoad(buffers[e.source], [rebuild(i, rename) for i in e.indices])

    value = re.sub(r"\s*#.*", "", str(rebuild(stage.value, rename)))
    extents = [n for _, n in stage.reduce]
    return f"{names[stage.buffer]}{stage.shape} {stage.dtype} {stage.combine}{extents} {stage.init} = {value}"


def _word(name: str) -> str:
    return re.sub(r"\W+", "_", name)[:48].strip("_")


@lru_cache(maxsize=1)
def _sources() -> str:
    """Hash of this package: a change of the generator changes every name, hence every cached object."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
