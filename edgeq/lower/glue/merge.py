"""A second fusion after TVM's: what only moves elements joins the sum that reads it or that it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tvm import tirx

from edgeq.lower.glue.alias import same_memory
from edgeq.lower.glue.axes import cost
from edgeq.lower.glue.calls import Call
from edgeq.lower.glue.expression import kind, loads, rebuild
from edgeq.lower.glue.group import groups
from edgeq.lower.glue.memory import Layout, Slot, layout_of
from edgeq.lower.glue.stage import Function, Stage

Expr = Any
Var = Any
LIMIT = 12  # stages: longer chains gain nothing more


def merged(calls: Sequence[Call], results: Sequence[int], known: Mapping[int, Layout]) -> list[Call]:
    """The calls with copies joined to their only neighbour wherever that costs no more than both apart."""
    done: list[Call] = []
    for call in calls:
        found = True
        while found:
            found = False
            for source in _sources(call, calls, done, results):
                joined = _join(source, call)
                layouts = _layouts((source, call), known)
                if _cost(joined, layouts) <= _cost(source, layouts) + _cost(call, layouts):
                    done.remove(source)
                    call, found = joined, True
                    break
        done.append(call)
    return done


def _sources(call: Call, calls: Sequence[Call], done: Sequence[Call], results: Sequence[int]) -> list[Call]:
    """Calls whose only result is read by `call` alone, once; one of the two only moves elements, the other sums."""
    uses = [token for c in calls for token in c.inputs]
    found = []
    for source in done:
        token = source.outputs[0]
        alone = len(source.outputs) == 1 and len(call.outputs) == 1 and token not in results
        if not alone or uses.count(token) != 1 or token not in call.inputs:
            continue
        pair = (source.function, call.function)
        if len(pair[0].stages) + len(pair[1].stages) <= LIMIT and (
            (moves(pair[0]) and sums(pair[1])) or (sums(pair[0]) and moves(pair[1]))
        ):
            found.append(source)
    return found


def moves(function: Function) -> bool:
    """Whether every element of the result is an element of an input."""
    return all(kind(s.value) == "TensorLoad" and not any(map(loads, s.value.indices)) for s in function.stages)


def sums(function: Function) -> bool:
    """Whether anything is reduced."""
    return any(s.reduce for s in function.stages)


def _join(first: Call, second: Call) -> Call:
    """Both as one call; the value between them is a stage."""
    copy = _fresh(first.function)
    place = second.inputs.index(first.outputs[0])
    own = second.function
    between = {own.inputs[place]: copy.outputs[0]}
    stages = (*copy.stages, *(_renamed(s, between) for s in own.stages))
    inputs = (*copy.inputs, *(b for i, b in enumerate(own.inputs) if i != place))
    tokens = (*first.inputs, *(t for i, t in enumerate(second.inputs) if i != place))
    name = f"{copy.name}_{own.name}"
    return Call(Function(name, inputs, own.outputs, stages), tokens, second.outputs)


def _fresh(function: Function) -> Function:
    """The function on buffers of its own: the same PrimFunc may be called twice."""
    every = (*function.inputs, *(s.buffer for s in function.stages))
    new = {b: tirx.decl_buffer(list(b.shape), str(b.dtype), b.name) for b in every}
    stages = tuple(replace(_renamed(s, new), buffer=new[s.buffer]) for s in function.stages)
    return Function(function.name, tuple(map(new.get, function.inputs)), tuple(map(new.get, function.outputs)), stages)


def _renamed(stage: Stage, buffers: Mapping[Var, Var]) -> Stage:
    def swap(e: Expr) -> Expr | None:
        if kind(e) != "TensorLoad" or e.source not in buffers:
            return None
        return tirx.BufferLoad(buffers[e.source], [rebuild(i, swap) for i in e.indices])

    return replace(stage, value=rebuild(stage.value, swap))


def _layouts(calls: Sequence[Call], known: Mapping[int, Layout]) -> dict[int, Layout]:
    """Where the values of some calls lie, or will lie when they stay inside."""
    found = {}
    for call in calls:
        pairs = zip((*call.function.inputs, *call.function.outputs), (*call.inputs, *call.outputs), strict=True)
        for buffer, token in pairs:
            shape = tuple(int(d) for d in buffer.shape)
            found[token] = known.get(token) or layout_of(shape, str(buffer.dtype))
    return found


def _cost(call: Call, layouts: Mapping[int, Layout]) -> float:
    """Vector operations of all kernels of a call."""
    function = call.function
    pairs = zip((*function.inputs, *function.outputs), (*call.inputs, *call.outputs), strict=True)
    slots = {buffer: Slot(layouts[token], None) for buffer, token in pairs}  # type: ignore[arg-type]
    slots |= {s.buffer: Slot(layout_of(s.shape, s.dtype), None) for s in function.stages if s.buffer not in slots}  # type: ignore[arg-type]
    total = 0.0
    for group in groups(function):
        given = {b: slot.layout for b, slot in slots.items()}
        if same_memory(group, given, given[group.root.buffer]) is not None:
            continue  # it costs nothing as it is
        inlined = {s.buffer: s for s in group.inlined}
        total += sum(cost(stage, inlined, slots) for stage in (*group.local, group.root))
    return total
