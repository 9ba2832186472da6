"""Kernel factory -> what its calls should leave in memory."""

from __future__ import annotations

from collections.abc import Callable

from replay import attending, linears, rowwise
from replay.linears import Expectations
from replay.step import Arguments

FAMILIES: dict[str, Callable[[Arguments], Expectations]] = {
    "quantize.quantize": linears.quantize,
    "quantize.quantize_rows": linears.quantize,
    "linear_int.gemv": linears.integer,
    "linear_int.gemm": linears.integer,
    "linear_float.gemv": linears.floating,
    "linear_float.gemm": linears.floating,
    "norm.norm": rowwise.norm,
    "heads.heads": attending.heads,
    "attention.decode": attending.attention,
    "attention.chunk": attending.attention,
    "embed.embed": rowwise.embed,
    "embed.positions": rowwise.positions,
    "elementwise.binary": rowwise.binary,
    "elementwise.unary": rowwise.unary,
    "elementwise.gated": rowwise.gated,
    "hadamard.hadamard": rowwise.hadamard,
    "argmax.argmax": rowwise.argmax,
}
