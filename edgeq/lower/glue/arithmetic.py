"""TVM's math calls as 16-lane code; rare ones call the runtime's function a lane (not libm: each has its own bits)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from edgeq.errors import UnsupportedError
from edgeq.kernels.transcendental import LOG2E, exp2, normal_tail, tanh
from edgeq.kernels.vector import (
    LANES,
    Stack,
    absolute,
    bits,
    cast,
    fence,
    fma,
    intrinsic,
    lanes_of,
    let,
    loop,
    maximum,
    minimum,
    part,
    rint,
    select,
    splat,
    sqrt,
)  # fmt: skip

Expr = Any
EXPENSIVE = {
    "exp",
    "exp2",
    "tanh",
    "sigmoid",
    "erf",
    "log",
    "log2",
    "log10",
    "sin",
    "cos",
    "tan",
    "pow",
    "sqrt",
    "rsqrt",
}
_LN2_HIGH, _LN2_LOW = 0.693145751953125, 1.42860682030941723e-6


def exp(x: Expr) -> Expr:
    """e**x: the multiple of ln 2 is taken out in two parts, so that large arguments lose nothing."""
    x = let(fence(x))
    n = let(rint(let(maximum(minimum(x * splat(LOG2E), splat(127.0)), splat(-126.0)))))
    rest = fma(n, splat(-_LN2_LOW), fma(n, splat(-_LN2_HIGH), x))
    power = bits(f"float32x{LANES}", (cast("int32", n) + splat(127)) << splat(23))
    return exp2(let(fence(rest * splat(LOG2E)))) * power


def sigmoid(x: Expr) -> Expr:
    """1 / (1 + exp(-x))."""
    return splat(1.0) / (splat(1.0) + exp2(let(fence(x * splat(-LOG2E)))))


def erf(x: Expr) -> Expr:
    """erf(x) = sign(x) * (1 - 2 * tail(|x| * sqrt 2)), and its series near 0, where that would cancel."""
    x = let(fence(x))
    far = splat(1.0) - splat(2.0) * normal_tail(x * splat(2.0**0.5))
    square = let(fence(x * x))
    p = splat(0.00012055332981789664)
    for c in (-0.0008548326929314, 0.0052239776254421, -0.0268661706451312, 0.1128379167095512, -0.3761263890318375):
        p = fma(p, square, splat(c))
    near = let(fma(p, square, splat(1.1283791670955126)) * x)
    signed = select(x < splat(0.0), splat(0.0) - far, far)
    return select(absolute(x) < splat(0.5), near, signed)


_VECTOR: Mapping[str, Callable[[Expr], Expr]] = {
    "exp": lambda x: exp(x), "exp2": lambda x: exp2(let(x)), "tanh": tanh, "sigmoid": sigmoid, "erf": erf,
}  # fmt: skip
_PLAIN: Mapping[str, Callable[[Expr], Expr]] = {
    "sqrt": sqrt, "fabs": absolute, "rsqrt": lambda x: _one(x) / sqrt(x), "round": lambda x: _llvm("rint", x),
    "nearbyint": lambda x: _llvm("rint", x),
}  # fmt: skip
_LLVM = ("floor", "ceil", "trunc")
_RUNTIME = ("log", "log2", "log10", "sin", "cos", "tan", "pow")  # edgeq/runtime/transcendental.c
_ALIASES = {"power": "pow"}


NAMES = frozenset((*_VECTOR, *_PLAIN, *_LLVM, *_RUNTIME, *_ALIASES))


def call(name: str, operands: list[Expr]) -> Expr:
    """The call `tirx.<name>` of float operands, all scalars or all vectors."""
    name = _ALIASES.get(name, name)
    if name in _VECTOR:
        x = operands[0]
        return _VECTOR[name](x) if lanes_of(x) > 1 else part(let(_VECTOR[name](splat(x))), 0, 1)
    if name in _PLAIN:
        return _PLAIN[name](let(operands[0]))
    if name in _LLVM:
        return _llvm(name, operands[0])
    if name in _RUNTIME:
        return _runtime(name, operands)
    raise UnsupportedError(f"no code for TVM's {name}")


def power(x: Expr, exponent: float) -> Expr:
    """x ** exponent: exact products and roots for the common ones (LLVM would choose them on some machines only)."""
    x = let(x)
    if exponent in (2.0, 3.0):
        square = fence(x * x)
        return square if exponent == 2.0 else fence(square * x)
    if exponent in (0.5, -0.5):
        return sqrt(x) if exponent > 0 else _one(x) / sqrt(x)
    if exponent in (1.0, -1.0):
        return x if exponent > 0 else _one(x) / x
    value = tirx.FloatImm("float32", exponent)
    return _runtime("pow", [x, splat(value, lanes_of(x)) if lanes_of(x) > 1 else value])


def _runtime(name: str, operands: list[Expr]) -> Expr:
    """The runtime's `edgeq_<name>` of scalars, or of every lane of vectors."""
    lanes = lanes_of(operands[0])
    if lanes == 1:
        return T.call_extern("float32", f"edgeq_{name}", *operands)
    given, result = [Stack(lanes, "float32") for _ in operands], Stack(lanes, "float32")
    for stack, value in zip(given, operands, strict=True):
        stack.store(0, value)
    with loop(0, lanes) as lane:
        result.store(lane, T.call_extern("float32", f"edgeq_{name}", *(stack[lane] for stack in given)))
    return let(result.vector(0))


def _llvm(name: str, x: Expr) -> Expr:
    return intrinsic(str(x.ty.dtype), f"llvm.{name}", x)


def _one(x: Expr) -> Expr:
    return splat(1.0) if lanes_of(x) > 1 else tirx.FloatImm("float32", 1.0)
