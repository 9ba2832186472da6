"""Types of nodes: fake tensors with symbolic sizes, and their text `f32[1, s, 64]`."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import fx
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv

from edgeq.errors import UsageError

DTYPES = {
    "f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "i64": torch.int64,
    "i32": torch.int32, "i16": torch.int16, "i8": torch.int8, "u8": torch.uint8, "bool": torch.bool,
}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
SIZE_HINT = 8  # the value that torch assumes of a symbolic size where it must pick one
ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.Pow: operator.pow,
}


def fake_mode(graph: fx.Graph) -> FakeTensorMode:
    """The mode that the graph's types live in (one a graph: symbols belong to it)."""
    for node in graph.nodes:
        held = node.meta.get("val")
        if isinstance(held, FakeTensor):
            return held.fake_mode
    return FakeTensorMode(shape_env=ShapeEnv())


class SymbolNames:
    """Names of symbolic sizes, by order of appearance: `s`, `s1`, `s2`, ..."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def show(self, size: int | torch.SymInt) -> str:
        """A size as text, its symbols renamed: `64`, `s`, `s + 1`."""
        if isinstance(size, int):
            return str(size)
        expression = size.node.expr
        for symbol in sorted(expression.free_symbols, key=str):
            self._names.setdefault(str(symbol), f"s{len(self._names) or ''}")
        return re.sub(r"[A-Za-z_]\w*", lambda found: self._names.get(found[0], found[0]), str(expression))


def show_type(held: Any, names: SymbolNames) -> str:
    """Fake tensor, symbolic integer or tuple of them -> text; `()` for an op that returns nothing."""
    if held is None:
        return "()"
    if isinstance(held, torch.Tensor):
        return f"{DTYPE_NAMES[held.dtype]}[{', '.join(names.show(size) for size in held.shape)}]"
    if isinstance(held, (tuple, list)):
        return f"({', '.join(show_type(part, names) for part in held)})"
    if isinstance(held, (int, torch.SymInt)):
        return f"size {names.show(held)}"
    raise UsageError(f"a value of type {type(held).__name__} has no text form")


class Scope:
    """Makes types from text; a size's name means the same symbol throughout."""

    def __init__(self) -> None:
        self._shapes = ShapeEnv()
        self._mode = FakeTensorMode(shape_env=self._shapes)
        self._symbols: dict[str, torch.SymInt] = {}

    def parse(self, text: str) -> Any:
        """`f32[1, s, 64]` -> fake tensor; UsageError when it is not a type."""
        if text == "()":
            return None
        if text.startswith("size "):
            return self._size(ast.parse(text[5:], mode="eval").body)
        found = re.fullmatch(r"(\w+)\[(.*)\]", text)
        if not found or found[1] not in DTYPES:
            raise UsageError(f"{text!r} is not a type such as f32[1, s, 64]; element types: {', '.join(DTYPES)}")
        sizes = ast.parse(f"[{found[2]}]", mode="eval").body
        shape = [self._size(size) for size in sizes.elts]  # type: ignore[attr-defined]
        with self._mode:
            return torch.empty(shape, dtype=DTYPES[found[1]])

    def _size(self, expression: ast.expr) -> int | torch.SymInt:
        if isinstance(expression, ast.Name):
            return self._symbol(expression.id)
        if isinstance(expression, ast.BinOp) and type(expression.op) in ARITHMETIC:
            return ARITHMETIC[type(expression.op)](self._size(expression.left), self._size(expression.right))
        return int(ast.literal_eval(expression))

    def _symbol(self, name: str) -> torch.SymInt:
        if name not in self._symbols:
            from torch._dynamo.source import ConstantSource

            # Distinct hints keep torch from merging two sizes that happen to be equal.
            hint, source = SIZE_HINT + len(self._symbols), ConstantSource(name)
            symbol = self._shapes.create_symbol(hint, source, dynamic_dim=DimDynamic.DYNAMIC, constraint_dim=None)
            self._symbols[name] = self._shapes.create_symintnode(symbol, hint=hint, source=source)
        return self._symbols[name]
