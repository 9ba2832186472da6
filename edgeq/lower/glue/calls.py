"""A fused IRModule as calls: which function reads and writes which values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from edgeq.errors import UnsupportedError
from edgeq.lower.glue.stage import Function, read
from edgeq.lower.glue.value import check


@dataclass(frozen=True)
class Call:
    """A function applied: `inputs` and `outputs` number values, in the order of its parameters."""

    function: Function
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Calls:
    """Calls in order. Values 0, 1, .. are the module's inputs; `results` leave it; `constants` are known."""

    def __init__(self, module: Any) -> None:
        main = module["main"]
        self.module = module
        self.calls: list[Call] = []
        self.constants: dict[int, np.ndarray] = {}
        self.inputs = len(main.params)
        self._count = self.inputs
        self._env: dict[Any, Any] = {param: i for i, param in enumerate(main.params)}
        for block in main.body.blocks:
            for binding in block.bindings:
                self._env[binding.var] = self._bind(binding.value)
        self.results = _flat(self._resolve(main.body.body))

    def _bind(self, value: Any) -> Any:
        if not isinstance(value, relax.Call):
            return self._resolve(value)
        if value.op.name != "relax.call_tir":
            raise UnsupportedError(f"TVM has no kernel for {value.op.name}")
        target, arguments = value.args[0], value.args[1]
        function = read(target.name_hint, self.module[target])
        for stage in function.stages:
            check(stage.value)
        outputs = tuple(self._new() for _ in function.outputs)
        self.calls.append(Call(function, tuple(self._resolve(a) for a in arguments.fields), outputs))
        return outputs if len(outputs) > 1 else outputs[0]

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, relax.Tuple):
            return tuple(self._resolve(v) for v in value.fields)
        if isinstance(value, relax.TupleGetItem):
            return self._resolve(value.tuple_value)[value.index]
        if type(value).__name__ == "GenericConst":
            return self._constant(value.value.numpy())
        return self._env[value]

    def _constant(self, array: np.ndarray) -> int:
        token = self._new()
        self.constants[token] = np.array(array, np.float32 if array.dtype.kind == "f" else np.int32, order="C")
        return token

    def _new(self) -> int:
        self._count += 1
        return self._count - 1


def _flat(value: Any) -> tuple[int, ...]:
    return tuple(i for part in value for i in _flat(part)) if isinstance(value, tuple) else (value,)
