"""Conversions of operators element by element: operands in the type that torch promotes them to."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import fx
from tvm import relax

from edgeq.ir.graph import arguments
from edgeq.lower.glue.operands import operand, type_of

Expr = Any
Convert = Callable[[Any, fx.Node], Expr]


def where(importer: Any, node: fx.Node) -> Expr:
    """`where` with numbers for either side."""
    condition, yes, no = node.args
    sides = [operand(importer, side, type_of(node)) for side in (yes, no)]
    return importer.block_builder.emit(relax.op.where(operand(importer, condition, "bool"), *sides))


def masked_fill(importer: Any, node: fx.Node) -> Expr:
    """`masked_fill` with any number, infinities too, or a tensor of one element."""
    x, mask, value = node.args
    sides = [operand(importer, side, type_of(node)) for side in (value, x)]
    return importer.block_builder.emit(relax.op.where(operand(importer, mask, "bool"), *sides))


def binary(operator: Callable[[Expr, Expr], Expr], swapped: bool = False, common: bool = False) -> Convert:
    """An operator of two operands brought to the type of the result, or with `common` to the type of both together."""

    def convert(importer: Any, node: fx.Node) -> Expr:
        a, b = node.args[:2]
        dtype = _common(a, b) if common else type_of(node)
        x, y = (operand(importer, side, dtype) for side in ((b, a) if swapped else (a, b)))
        alpha = node.kwargs.get("alpha", 1)
        if alpha is None or alpha == 1:
            return importer.block_builder.emit(operator(x, y))
        scaled = importer.block_builder.emit(relax.op.multiply(y, relax.const(alpha, dtype)))
        return importer.block_builder.emit(operator(x, scaled))

    return convert


def _common(a: Any, b: Any) -> str:
    held = [x.meta["val"] if isinstance(x, fx.Node) else x for x in (a, b)]
    return str(torch.result_type(*held)).removeprefix("torch.")


def divide(importer: Any, node: fx.Node) -> Expr:
    """`div`, with or without rounding."""
    mode = node.kwargs.get("rounding_mode")
    if mode == "floor":
        return binary(relax.op.floor_divide)(importer, node)
    emit, result = importer.block_builder.emit, type_of(node)
    inner = result if result.startswith("float") else "float32"
    quotient = emit(relax.op.divide(*(operand(importer, x, inner) for x in node.args[:2])))
    if mode == "trunc":
        quotient = emit(relax.op.trunc(quotient))
    return quotient if inner == result else emit(relax.op.astype(quotient, result))


def clamp(importer: Any, node: fx.Node) -> Expr:
    """`clamp`, `clamp_min`, `clamp_max`, `hardtanh`: bounds that are numbers, tensors, infinite or absent."""
    given = arguments(node)
    low, high = given.get("min", given.get("min_val")), given.get("max", given.get("max_val"))
    value = operand(importer, node.args[0], type_of(node))
    for bound, operator in ((low, relax.op.maximum), (high, relax.op.minimum)):
        if isinstance(bound, fx.Node) or (bound is not None and math.isfinite(bound)):
            value = importer.block_builder.emit(operator(value, operand(importer, bound, type_of(node))))
    return value
