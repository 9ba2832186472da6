"""The text form of a graph: one line an op, printed and parsed.

    %input_ids = input : i64[1, s]
    %w = weight model.norm.weight : f32[64]
    %y = edgeq.rms_norm(%x, %w, eps=1e-06) : f32[1, s, 64] @ model.norm
    return %y

What follows `@` is the Hugging Face module. Sizes that vary are `s`, `s1`, ... Lines that start with `#` are comments.
A parsed graph holds no weights: they are meta tensors of the printed type.
"""

from __future__ import annotations

import ast
import math
import re
from typing import Any

import torch
from torch import fx

from edgeq.errors import UsageError
from edgeq.ir.graph import hf_name, resolve
from edgeq.ir.types import DTYPE_NAMES, DTYPES, Scope, SymbolNames, show_type

CONSTANTS: dict[str, Any] = {"inf": math.inf, "nan": math.nan, **DTYPES}
LINE = re.compile(
    r"%(?P<name>\w+) = (?:(?P<kind>input|weight)(?: (?P<target>\S+))?|(?P<op>[\w.]+)\((?P<args>.*)\))"
    r" : (?P<type>.*?)(?: @ (?P<hf>\S+))?"
)


def show(gm: fx.GraphModule) -> str:
    """Graph -> text. Equal graphs print equal text; `show(parse(text)) == text`."""
    names = SymbolNames()
    return "\n".join(_line(node, names) for node in gm.graph.nodes) + "\n"


def _line(node: fx.Node, names: SymbolNames) -> str:
    if node.op == "output":
        return f"return {_argument(node.args[0])}"
    where = f" @ {hf_name(node)}" if hf_name(node) else ""
    return f"%{node.name} = {_expression(node)} : {show_type(node.meta['val'], names)}{where}"


def _expression(node: fx.Node) -> str:
    if node.op == "placeholder":
        return "input" if node.target == node.name else f"input {node.target}"
    if node.op == "get_attr":
        return f"weight {node.target}"
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        raise UsageError(f"{node.name} ({node.op} {node.target}) is no op of torch and has no text form")
    arguments = [_argument(arg) for arg in node.args] + [f"{key}={_argument(arg)}" for key, arg in node.kwargs.items()]
    return f"{str(node.target).removesuffix('.default')}({', '.join(arguments)})"


def _argument(arg: Any) -> str:
    if isinstance(arg, fx.Node):
        return f"%{arg.name}"
    if isinstance(arg, tuple):
        return f"({', '.join(map(_argument, arg))}{',' if len(arg) == 1 else ''})"
    if isinstance(arg, list):
        return f"[{', '.join(map(_argument, arg))}]"
    if isinstance(arg, torch.dtype):
        return DTYPE_NAMES[arg]
    if arg is None or isinstance(arg, (bool, int, float, str)):
        return repr(arg)
    if isinstance(arg, torch.device):
        return repr(str(arg))
    raise UsageError(f"an argument of type {type(arg).__name__} ({arg}) has no text form")


def parse(text: str) -> fx.GraphModule:
    """Text -> graph with types and Hugging Face names, weights as meta tensors.

    Raises:
        UsageError: a line that is not of the form, an unknown op or name; the message gives the line.
    """
    reader = _Reader()
    for number, line in enumerate(text.splitlines(), 1):
        _read(reader, number, line.strip())
    return reader.finish()


def _read(reader: _Reader, number: int, line: str) -> None:
    try:
        reader.read(line)
    except (UsageError, AttributeError, KeyError, SyntaxError, ValueError) as error:
        raise UsageError(f"line {number}: {error}\n    {line}") from error


class _Reader:
    """Builds the graph line by line."""

    def __init__(self) -> None:
        self.graph = fx.Graph()
        self.nodes: dict[str, fx.Node] = {}
        self.weights: dict[str, torch.Tensor] = {}
        self.scope = Scope()
        self.returned = False

    def read(self, line: str) -> None:
        if not line or line.startswith("#"):
            return
        if self.returned:
            raise UsageError("nothing may follow return")
        if line.startswith("return "):
            self.graph.output(self._value(_python(line[7:])))
            self.returned = True
            return
        found = LINE.fullmatch(line)
        if not found:
            raise UsageError("expected `%name = op(arguments) : type @ module`, `%name = input : type` or `return ...`")
        self._define(**found.groupdict())

    def _define(self, name: str, kind: str | None, target: str | None, op: str, args: str, type: str, hf: str) -> None:
        if name in self.nodes:
            raise UsageError(f"%{name} is defined twice")
        held = self.scope.parse(type)
        if kind == "input":
            node = self.graph.create_node("placeholder", target or name, name=name)
        elif kind == "weight":
            if target is None:
                raise UsageError("a weight line needs the tensor's name")
            self.weights[target] = torch.empty(held.shape, dtype=held.dtype, device="meta")
            node = self.graph.create_node("get_attr", target, name=name)
        else:
            call = _python(f"f({args})")
            positional = tuple(self._value(arg) for arg in call.args)  # type: ignore[attr-defined]
            named = {key.arg: self._value(key.value) for key in call.keywords}  # type: ignore[attr-defined]
            node = self.graph.create_node("call_function", resolve(op), positional, named, name=name)
        node.meta.update(val=held, hf=hf or "")
        self.nodes[name] = node

    def _value(self, expression: ast.expr) -> Any:
        if isinstance(expression, ast.Name):
            return self._named(expression.id)
        if isinstance(expression, ast.List):
            return [self._value(part) for part in expression.elts]
        if isinstance(expression, ast.Tuple):
            return tuple(self._value(part) for part in expression.elts)
        if isinstance(expression, ast.UnaryOp) and isinstance(expression.operand, ast.Name):
            return -self._named(expression.operand.id)
        return ast.literal_eval(expression)

    def _named(self, name: str) -> Any:
        if not name.startswith("node__"):
            if name not in CONSTANTS:
                raise UsageError(f"{name!r} means nothing here")
            return CONSTANTS[name]
        if name[6:] not in self.nodes:
            raise UsageError(f"%{name[6:]} is used before it is defined")
        return self.nodes[name[6:]]

    def finish(self) -> fx.GraphModule:
        if not self.returned:
            raise UsageError("the text ends without return")
        return fx.GraphModule(self.weights, self.graph)  # type: ignore[arg-type]


def _python(text: str) -> ast.expr:
    return ast.parse(re.sub(r"%(\w+)", r"node__\1", text), mode="eval").body
