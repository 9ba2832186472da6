"""The `edgeq::` ops: importing this package registers every one with torch (schema, shapes, meaning in plain torch).

Ops of a raised graph are composite and differentiable (`torch.export` keeps each as one node); ops that write a cache,
pick a row by value or quantize are opaque and have fake functions. Schemas are the table of ARCHITECTURE.md.
"""

from __future__ import annotations

from edgeq.ir.ops import (
    activation,
    attention,
    columns,
    convolution,
    cross,
    fake_quant,
    grid,
    hadamard,
    linear,
    norm,
    position,
    rows,
    sign_heads,
)

__all__ = [
    "activation", "attention", "columns", "convolution", "cross", "fake_quant", "grid", "hadamard", "linear", "norm",
    "position", "rows", "sign_heads",
]  # fmt: skip
