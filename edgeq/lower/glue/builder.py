"""Calls -> steps: each group of stages becomes a kernel or, where nothing moves, an alias."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import te

from edgeq.lower.glue.alias import same_memory
from edgeq.lower.glue.calls import Call, Calls
from edgeq.lower.glue.group import Group, groups
from edgeq.lower.glue.kernel import ELEMENT, kernel
from edgeq.lower.glue.memory import Layout, layout_of
from edgeq.lower.glue.merge import merged
from edgeq.lower.glue.operand import Alias, Operand, Program, Step
from edgeq.lower.glue.schedule import schedule
from edgeq.lower.glue.stage import read


class Builder:
    """Makes one program; `values` are numbered as they appear, inputs first."""

    def __init__(self, inputs: tuple[Operand, ...]):
        self.inputs = inputs
        self.values: list[Operand] = list(inputs)
        self.constants: dict[int, np.ndarray] = {}
        self.steps: list[Step] = []
        self.aliases: list[Alias] = []

    def build(self, module: Any) -> Program:
        """The program of a fused module."""
        calls = Calls(module)
        held = {i: i for i in range(calls.inputs)} | {t: self._constant(a) for t, a in calls.constants.items()}
        known = {token: _layout(self.values[value]) for token, value in held.items()}
        for call in merged(calls.calls, calls.results, known):
            self._call(call, held, calls.results)
        outputs = [self._copied(held[t]) if t in calls.constants else held[t] for t in calls.results]
        inputs = tuple(range(calls.inputs))
        return Program(
            tuple(self.values), inputs, tuple(outputs), self.constants, tuple(self.steps), tuple(self.aliases)
        )

    def _constant(self, array: np.ndarray) -> int:
        width = array.shape[-1] if array.shape else 1
        self.constants[len(self.values)] = array
        return self._value(Operand(array.shape, "f32" if array.dtype.kind == "f" else "i32", width))

    def _copied(self, index: int) -> int:
        """A constant that leaves the cluster, written where tensors are."""
        shape, dtype = self.values[index].shape, ELEMENT[self.values[index].dtype]
        source = te.placeholder(shape, dtype, "constant")
        function = te.create_prim_func([source, te.compute(shape, lambda *i: source(*i), "copy")])
        parts = read("copy", function)
        (group,) = groups(parts)
        return self._step("copy", group, {parts.inputs[0]: index}, True)

    def _value(self, operand: Operand) -> int:
        self.values.append(operand)
        return len(self.values) - 1

    def _call(self, call: Call, held: dict[int, int], results: tuple[int, ...]) -> None:
        parts = call.function
        places = dict(zip(parts.inputs, (held[token] for token in call.inputs), strict=True))
        tokens = dict(zip(parts.outputs, call.outputs, strict=True))
        for group in groups(parts):
            leaves = tokens.get(group.root.buffer) in results
            places[group.root.buffer] = self._step(parts.name, group, places, leaves)
        held |= {token: places[buffer] for buffer, token in tokens.items()}

    def _step(self, name: str, group: Group, held: Mapping[Any, int], leaves: bool) -> int:
        root = group.root
        target = layout_of(root.shape, root.dtype, leaves)
        output = Operand(target.shape, target.dtype, target.row_stride)
        reads = group.reads()
        layouts = {b: _layout(self.values[held[b]]) for b in reads}
        found = same_memory(group, layouts, target)
        if found is not None and held[found[0]] not in self.constants:  # outputs must not lie in the weights file
            source, offset = found
            value = self._value(output)
            self.aliases.append(Alias(value, held[source], offset))
            return value
        plan = schedule(group, {**layouts, root.buffer: target})
        value = self._value(output)
        self.steps.append(Step(kernel(name, plan, reads), plan.units, tuple(held[b] for b in reads), value, name))
        return value


def _layout(operand: Operand) -> Layout:
    return Layout(operand.shape, operand.dtype, operand.row_stride)
