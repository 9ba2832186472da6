"""Element by element over rows: add, mul, scale, softcap, activations, gated activations.

One pass over memory, one 16-lane vector a step; rows of a call are contiguous, so a range of rows is one loop. Rows are
`padded(width)` floats apart; every operation makes zeros of zeros, so pad lanes stay zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.kernels import activation
from edgeq.kernels.kernel import Kernel, Param, factory
from edgeq.kernels.naming import padded, symbol
from edgeq.kernels.transcendental import tanh
from edgeq.kernels.vector import LANES, Expr, Memory, fence, function, loop, splat
from edgeq.targets.isa import Isa


@factory
def binary(width: int, op: str) -> Kernel:
    """`o = a + b` (`add`) or `a * b` (`mul`); parameters m, a, b, o: f32[m][padded(width)]. `o` may be `a` or `b`."""
    if op not in ("add", "mul"):
        raise UnsupportedError(f"no elementwise kernel for {op!r} of two activations; known: add, mul")
    combine: Callable[..., Expr] = (lambda a, b: a + b) if op == "add" else (lambda a, b: a * b)
    return _rows(symbol(op, width), width, ("a", "b"), combine)


@factory
def unary(width: int, op: str, value: float = 0.0) -> Kernel:
    """`scale`: a * value; `softcap`: value * tanh(a / value); or an activation's name. Parameters m, a, o."""
    if op == "scale":
        return _rows(symbol(op, width, float(value)), width, ("a",), lambda a: a * splat(float(value)))
    if op == "softcap":
        return _rows(symbol(op, width, float(value)), width, ("a",), lambda a: soft_cap(a, value))
    _known(op)
    return _rows(symbol(op, width), width, ("a",), lambda a: activation.apply(op, a))


@factory
def gated(width: int, act: str) -> Kernel:
    """`o = act(gate) * up`; parameters m, gate, up, o: f32[m][padded(width)]."""
    _known(act)
    return _rows(symbol("gated", act, width), width, ("gate", "up"), lambda g, u: activation.apply(act, g) * u)


def soft_cap(x: Expr, cap: float) -> Expr:
    """cap * tanh(x / cap)."""
    return splat(float(cap)) * tanh(fence(x * splat(1.0 / cap)))


def reference(op: str, *inputs: np.ndarray, value: float = 0.0) -> np.ndarray:
    """Any of the operations above in float64; `gated:<act>` for the gated ones."""
    a = np.asarray(inputs[0], np.float64)
    if op in ("add", "mul"):
        return a + inputs[1] if op == "add" else a * inputs[1]
    if op.startswith("gated:"):
        return activation.reference(op.removeprefix("gated:"), a) * inputs[1]
    if op in ("scale", "softcap"):
        return a * value if op == "scale" else value * np.tanh(a / value)
    return activation.reference(op, a)


def _known(act: str) -> None:
    if act not in activation.NAMES:
        raise UnsupportedError(f"no kernel for activation {act!r}; known: {', '.join(activation.NAMES)}")


def _rows(name: str, width: int, inputs: tuple[str, ...], compute: Callable[..., Expr]) -> Kernel:
    vectors = padded(width) // LANES

    def body(lo: Expr, hi: Expr, m: Expr, *memories: Memory) -> None:
        with loop(lo * vectors, hi * vectors) as i:
            memories[-1].store(i * LANES, compute(*(x.vector(i * LANES) for x in memories[:-1])))

    return _kernel(name, inputs, body, "row")


def _kernel(name: str, inputs: tuple[str, ...], body: Callable[..., None], unit: str) -> Kernel:
    def build(isa: Isa) -> Any:
        return function(name, isa, ["m"], dict.fromkeys((*inputs, "o"), "float32"), body)

    params = (Param("m", "value"), *(Param(p, "in") for p in inputs), Param("o", "out"))
    return Kernel(name, params, build, unit)
