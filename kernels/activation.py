"""Activation functions as 16-lane expressions, shared by the linear kernels' epilogues and by `elementwise`.

`apply(name, x)` inside a kernel, `reference(name, x)` in float64. Names are those of the dialect: `silu`, `gelu` (erf),
`gelu_tanh`, `relu`, `quick_gelu`, `tanh`, `identity`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.kernels import transcendental as f
from edgeq.kernels.vector import Expr, fence, fma, let, maximum, select, splat

_GELU_TANH = (2 * math.sqrt(2 / math.pi), 2 * math.sqrt(2 / math.pi) * 0.044715)  # 2u = x * (a + b * x * x)


def apply(name: str, x: Expr) -> Expr:
    """The activation of a float32x16 value; raises UnsupportedError listing the known names."""
    if name not in _EMIT:
        raise UnsupportedError(f"no kernel for activation {name!r}; known: {', '.join(NAMES)}")
    return let(fence(_EMIT[name](let(fence(x)))))


def reference(name: str, x: np.ndarray) -> np.ndarray:
    """The activation in float64."""
    return _REFERENCE[name](np.asarray(x, np.float64))


def _silu(x: Expr) -> Expr:
    return x / (splat(1.0) + f.exp2(x * splat(-f.LOG2E)))


def _quick_gelu(x: Expr) -> Expr:
    return x / (splat(1.0) + f.exp2(x * splat(-1.702 * f.LOG2E)))


def _gelu(x: Expr) -> Expr:
    below = let(fence(x * f.normal_tail(x)))  # x * P(normal > |x|): no cancellation for negative x
    return select(x < splat(0.0), below, x - below)


def _gelu_tanh(x: Expr) -> Expr:
    a, b = _GELU_TANH
    twice = let(fence(x * fma(x * x, splat(b), splat(a))))  # (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u))
    return x / (splat(1.0) + f.exp2(twice * splat(-f.LOG2E)))


_EMIT: dict[str, Callable[[Expr], Expr]] = {
    "identity": lambda x: x,
    "silu": _silu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "quick_gelu": _quick_gelu,
    "relu": lambda x: maximum(x, splat(0.0)),
    "tanh": f.tanh,
}

NAMES = tuple(sorted(_EMIT))

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -700, 700)))


_REFERENCE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda x: x,
    "silu": lambda x: x * _sigmoid(x),
    "gelu": lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x * _sigmoid(1.702 * x),
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
}
