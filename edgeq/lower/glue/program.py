"""A cluster as a program: values in memory, kernels over them, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from torch import fx
from tvm import relax, te

from edgeq.errors import UnsupportedError
from edgeq.ir.graph import op, site
from edgeq.kernels.kernel import Kernel
from edgeq.lower.glue.alias import same_memory
from edgeq.lower.glue.cluster import Cluster
from edgeq.lower.glue.group import Group, groups
from edgeq.lower.glue.importer import fused
from edgeq.lower.glue.isolate import isolate, text
from edgeq.lower.glue.kernel import ELEMENT, kernel
from edgeq.lower.glue.memory import Layout, padded
from edgeq.lower.glue.schedule import schedule
from edgeq.lower.glue.stage import read
from edgeq.lower.glue.value import check


@dataclass(frozen=True)
class Operand:
    """A tensor in memory: `f32` or `i32`; rows of the last axis are `row_stride` elements apart, outer axes dense."""

    shape: tuple[int, ...]
    dtype: str
    row_stride: int


@dataclass(frozen=True)
class Step:
    """One kernel call over 0..units-1; `inputs` and `output` are indices of values."""

    kernel: Kernel
    units: int
    inputs: tuple[int, ...]
    output: int
    name: str


@dataclass(frozen=True)
class Alias:
    """Value `value` is the memory of value `source` from element `offset` on."""

    value: int
    source: int
    offset: int = 0


@dataclass(frozen=True)
class Program:
    """What a cluster does.

    `values` describes every tensor; `inputs` and `outputs` index it in the cluster's order; `constants` are dense
    tensors that belong in the weights file. Memory must be 64-byte aligned. Steps come in order; an aliased value
    needs no memory of its own.
    """

    values: tuple[Operand, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: dict[int, np.ndarray]
    steps: tuple[Step, ...]
    aliases: tuple[Alias, ...]


def program(cluster: Cluster, operands: Mapping[fx.Node, Operand]) -> Program:
    """Compile a cluster whose inputs lie in memory as `operands` says; outputs get rows padded to 16 with zero lanes.

    Raises UnsupportedError naming the op and its Hugging Face module when TVM or the schedule cannot take it.
    """
    graph = isolate(cluster)
    inputs = tuple(operands[node] for node in cluster.inputs)
    try:
        return _cached(_Key(text(graph), inputs, graph))
    except UnsupportedError as e:
        places = sorted({site(node) for node in cluster.nodes})
        ops = sorted({op(node) for node in cluster.nodes if op(node)})
        raise UnsupportedError(f"{', '.join(places[:4])} ({', '.join(ops)}): {e}") from e


@dataclass(frozen=True)
class _Key:
    """Equal text and operands: equal programs (a model's layers repeat)."""

    text: str
    inputs: tuple[Operand, ...]
    graph: fx.Graph = field(compare=False)


@lru_cache(maxsize=4096)
def _cached(key: _Key) -> Program:
    return _Builder(key.inputs).build(fused(key.graph))


class _Builder:
    """Turns TVM's calls into steps."""

    def __init__(self, inputs: tuple[Operand, ...]):
        self.values: list[Operand] = list(inputs)
        self.constants: dict[int, np.ndarray] = {}
        self.steps: list[Step] = []
        self.aliases: list[Alias] = []
        self.env: dict[Any, Any] = {}

    def build(self, module: Any) -> Program:
        main = module["main"]
        self.env = {param: i for i, param in enumerate(main.params)}
        bindings = [b for block in main.body.blocks for b in block.bindings]
        leaving = _leaving(bindings, main.body.body)
        for binding in bindings:
            self.env[binding.var] = self._bind(module, binding.value, binding.var in leaving)
        outputs = [self._copied(i) if i in self.constants else i for i in _flat(self._resolve(main.body.body))]
        return Program(
            tuple(self.values),
            tuple(range(len(main.params))),
            tuple(outputs),
            self.constants,
            tuple(self.steps),
            tuple(self.aliases),
        )

    def _bind(self, module: Any, value: Any, leaves: bool) -> Any:
        if isinstance(value, relax.Call) and value.op.name == "relax.call_tir":
            return self._call(module[value.args[0]], value.args[0].name_hint, value.args[1], leaves)
        if isinstance(value, relax.Call):
            raise UnsupportedError(f"TVM has no kernel for {value.op.name}")
        return self._resolve(value)

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, relax.Tuple):
            return tuple(self._resolve(v) for v in value.fields)
        if isinstance(value, relax.TupleGetItem):
            return self._resolve(value.tuple_value)[value.index]
        if type(value).__name__ == "GenericConst":
            return self._constant(value.value.numpy())
        return self.env[value]

    def _constant(self, array: np.ndarray) -> int:
        floating = array.dtype.kind == "f"
        data = np.ascontiguousarray(array, np.float32 if floating else np.int32)
        width = array.shape[-1] if array.shape else 1
        self.constants[len(self.values)] = data
        return self._value(Operand(array.shape, "f32" if floating else "i32", width))

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

    def _call(self, function: Any, name: str, args: Any, leaves: bool) -> Any:
        parts = read(name, function)
        held = dict(zip(parts.inputs, (self._resolve(a) for a in args.fields), strict=True))
        for stage in parts.stages:
            check(stage.value)
        for group in groups(parts):
            is_output = any(group.root.buffer.same_as(o) for o in parts.outputs)
            held[group.root.buffer] = self._step(name, group, held, leaves and is_output)
        written = tuple(held[o] for o in parts.outputs)
        return written if len(written) > 1 else written[0]

    def _step(self, name: str, group: Group, held: Mapping[Any, int], leaves: bool) -> int:
        root = group.root
        output = _operand(root.shape, root.dtype, leaves)
        reads = [b for b in group.reads()]
        layouts = {b: _layout(self.values[held[b]], b) for b in reads}
        target = Layout(root.shape, output.dtype, output.row_stride)
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


def _operand(shape: tuple[int, ...], dtype: str, leaves: bool) -> Operand:
    """Where a new value lies: rows padded to 16, except short rows that stay inside."""
    width = shape[-1] if shape else 1
    stride = padded(width) if leaves or width >= 16 else width
    return Operand(shape, "f32" if dtype.startswith("float") else "i32", stride)


def _layout(operand: Operand, buffer: Any) -> Layout:
    """The layout of an operand read as a TVM buffer."""
    shape = tuple(int(d) for d in buffer.shape)
    assert shape == operand.shape, (shape, operand)
    return Layout(shape, operand.dtype, operand.row_stride)


def _leaving(bindings: list[Any], result: Any) -> set[Any]:
    """Variables that the function returns, directly or inside a tuple."""
    found = {result}
    for binding in reversed(bindings):
        if binding.var in found:
            stack = [binding.value]
            while stack:
                value = stack.pop()
                if isinstance(value, relax.Tuple):
                    stack += list(value.fields)
                elif isinstance(value, relax.TupleGetItem):
                    stack.append(value.tuple_value)
                elif isinstance(value, relax.Var):
                    found.add(value)
    return found


def _flat(value: Any) -> list[int]:
    return [i for part in value for i in _flat(part)] if isinstance(value, tuple) else [value]
