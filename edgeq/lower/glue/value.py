"""Stage expressions -> code, a vector of 16 elements (or one element) at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import isinf, isnan
from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from edgeq.errors import UnsupportedError
from edgeq.kernels.vector import LANES, Memory, Reg, Stack, branch, f32, fence, i32, lanes_of, let, select, splat
from edgeq.lower.glue import arithmetic
from edgeq.lower.glue.expression import called, children, dtype_of, is_float, kind, loads, nodes, substitute
from edgeq.lower.glue.memory import Slot
from edgeq.lower.glue.space import Space, const
from edgeq.lower.glue.stage import Stage

Expr = Any
Var = Any
Binding = Mapping[Var, Expr]
INT32 = (-(2**31), 2**31 - 1)
_COMPARE = {"EQ": tirx.EQ, "NE": tirx.NE, "LT": tirx.LT, "LE": tirx.LE, "GT": tirx.GT, "GE": tirx.GE}
_LOGICAL = {"Min": "And", "Mul": "And", "Max": "Or", "Add": "Or"}
_BITS = ("BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot", "LShift", "RShift")
_FLOAT_MAX = 3.4028234663852886e38


def check(e: Expr) -> None:
    """Raise UnsupportedError when the expression calls what has no code here."""
    for node in nodes(e):
        name = called(node)
        if name and name not in ("if_then_else", "likely", "fabs", *arithmetic.NAMES):
            raise UnsupportedError(f"edgeq has no code for TVM's {name}")


class Evaluator:
    """Writes the code of expressions. Stages in `inlined` are computed where they are read, once for each index;
    everything else is read from its slot."""

    def __init__(self, space: Space, slots: Mapping[Var, Slot], inlined: Mapping[Var, Stage]):
        self.space, self.slots, self.inlined = space, slots, inlined
        self._memo: list[dict[Any, Expr]] = [{}]
        self._guarded = False

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What is computed inside is forgotten after (it lives in a loop or a branch)."""
        self._memo.append({})
        yield
        self._memo.pop()

    def value(self, e: Expr, binding: Binding) -> Expr:
        """Code for the expression with its variables bound to index arithmetic."""
        if not is_float(e) and not loads(e):
            e, binding = self.space.simplify(substitute(e, binding)), {}
        name = kind(e)
        if name in ("IntImm", "FloatImm"):
            return _constant(e)
        if name == "Var":
            return self.space.code[e] if e in self.space.code else self.value(binding[e], {})
        if name == "TensorLoad":
            return self.load(e, binding)
        if name == "Let":
            return self.value(substitute(e.body, {e.var: e.value}), binding)
        if called(e) == "if_then_else":
            condition, yes, no = e.args
            return self._conditional(condition, yes, no, binding)
        if name == "Select":
            return self._select(e.condition, e.true_value, e.false_value, binding)
        return self._operation(e, same_lanes([self.value(c, binding) for c in children(e)]))

    def decide(self, condition: Expr, binding: Binding) -> bool | Expr:
        """True or False where the condition is known, else the condition in terms of symbols."""
        bound = self.space.simplify(substitute(condition, binding))
        return bool(bound.value) if kind(bound) == "IntImm" else bound

    def known(self, stage: Var, indices: tuple[Expr, ...]) -> Expr | None:
        """The value of an inlined stage at an index, if it is at hand."""
        key = self._key(stage, indices)
        return next((memo[key] for memo in reversed(self._memo) if key in memo), None)

    def keep(self, stage: Var, indices: tuple[Expr, ...], value: Expr) -> None:
        """Remember the value of a stage at an index, inside the current scope."""
        self._memo[-1][self._key(stage, indices)] = value

    def _key(self, buffer: Var, indices: tuple[Expr, ...]) -> Any:
        return (buffer.name, hash(buffer), self._guarded, *map(str, indices))

    def load(self, e: Expr, binding: Binding) -> Expr:
        """An element of a stage or of memory."""
        indices = tuple(self.space.simplify(substitute(i, binding)) for i in e.indices)
        if (held := self.known(e.source, indices)) is not None:
            return held
        stage = self.inlined.get(e.source)
        if stage is None:
            value = self._memory(self.slots[e.source], indices, dtype_of(e))
        elif stage.reduce:
            raise AssertionError(f"{e.source.name} is read before it is reduced")
        else:
            value = self.value(stage.value, dict(zip(stage.vars, indices, strict=True)))
        if dtype_of(e) != "bool":  # TVM keeps no vector of bools in memory
            value = let(value)
            self.keep(e.source, indices, value)
        return value

    def _memory(self, slot: Slot, indices: tuple[Expr, ...], dtype: str) -> Expr:
        flat = self.space.simplify(slot.layout.flat(indices))
        varies = self.space.varies(flat)
        value = self._lanes(slot, flat) if varies else slot.memory[self.value(self._inside(slot, flat), {})]
        return value if dtype != "bool" else tirx.NE(value, like(0, value))

    def _lanes(self, slot: Slot, flat: Expr) -> Expr:
        """A vector of elements: one load where they are neighbours and all 16 exist."""
        step, base = self.space.stride(flat)
        whole = self.space.valid == LANES and not self._guarded
        if step == 1 and (whole or self._within(base, slot.layout.elements - LANES)):
            return slot.memory.vector(self.value(self._inside(slot, base, LANES) if loads(base) else base, {}))
        if step == 1 and self.space.valid < LANES and not self._guarded and not loads(base):
            return masked(slot.memory, self.value(base, {}), self.space.valid)
        if step is not None and whole and not loads(base):
            return slot.memory.buffer[tirx.Ramp(self.value(base, {}), i32(step), LANES)]
        return slot.memory.buffer[self.value(self._inside(slot, flat), {})]

    def _within(self, index: Expr, last: int) -> bool:
        """Whether an index is known to be in 0..last."""
        return not loads(index) and self.space.lower(index) >= 0 and self.space.upper(index) <= last

    def _inside(self, slot: Slot, index: Expr, lanes: int = 1) -> Expr:
        """The index itself, or moved into the tensor: an untaken branch or a wrong id must not read beside it."""
        last = max(0, slot.layout.elements - lanes)
        if self._within(index, last) or not (self._guarded or loads(index)):
            return index
        return tirx.max(tirx.min(index, const(last)), const(0))

    def _conditional(self, condition: Expr, yes: Expr, no: Expr, binding: Binding) -> Expr:
        """`if_then_else`: a branch where all lanes agree, so that the other side is never evaluated."""
        decided = self.decide(condition, binding)
        if isinstance(decided, bool):
            return self.value(yes if decided else no, binding)
        if self.space.varies(decided) or dtype_of(yes) == "bool" or self._reads_lanes(decided):
            guarded, self._guarded = self._guarded, True
            value = self._select(condition, yes, no, binding)
            self._guarded = guarded
            return value
        active = self.space.lane is not None
        result = Reg(memory_type(dtype_of(yes)), lanes=LANES if active else 1)

        def assign(side: Expr, holds: Expr) -> Callable[[], None]:
            def write() -> None:
                with self.scope(), self.space.analyzer.constraint_scope(holds):
                    value = self.value(side, binding)
                    result.set(splat(value) if active and lanes_of(value) == 1 else value)

            return write

        branch(self.value(decided, {}), assign(yes, decided), assign(no, self.space.simplify(tirx.Not(decided))))
        return result.v

    def _reads_lanes(self, condition: Expr) -> bool:
        return any(lanes_of(self.load(read, {})) > 1 for read in loads(condition))

    def _select(self, condition: Expr, yes: Expr, no: Expr, binding: Binding) -> Expr:
        decided = self.decide(condition, binding)
        if isinstance(decided, bool):
            return self.value(yes if decided else no, binding)
        test, a, b = same_lanes([self.value(decided, {}), self.value(yes, binding), self.value(no, binding)])
        if dtype_of(yes) == "bool":
            return tirx.Or(tirx.And(test, a), tirx.And(tirx.Not(test), b))
        return select(test, a, b)

    def _operation(self, e: Expr, parts: list[Expr]) -> Expr:
        name = kind(e)
        if name in _COMPARE:
            return _COMPARE[name](*(convert("bool", "int32", p) if dtype_of(e.a) == "bool" else p for p in parts))
        if dtype_of(e) == "bool" and name in _LOGICAL:
            name = _LOGICAL[name]
        if name in ("And", "Or", "Not"):
            return getattr(tirx, name)(*parts)
        if name == "Cast":
            return convert(dtype_of(e.value), dtype_of(e), parts[0])
        if name == "Call":
            return self._call(e, parts)
        if name in _BITS:
            return _bitwise(name, dtype_of(e), parts)
        a, b = parts
        if name in ("Min", "Max"):
            return select(a < b, a, b) if name == "Min" else select(a > b, a, b)
        if name in ("Add", "Sub"):
            return a + b if name == "Add" else a - b
        if name == "Mul":
            return fence(a * b) if is_float(e) else a * b  # LLVM must not contract it with a sum
        return self._division(e, name, a, b)

    def _division(self, e: Expr, name: str, a: Expr, b: Expr) -> Expr:
        if is_float(e):
            floor = a / b if name == "Div" else _float_floor(a, b)
            return a - fence(floor * b) if name == "FloorMod" else floor
        if loads(e.b):
            b = let(select(tirx.EQ(b, like(0, b)), like(1, b), b))  # lanes that do not exist must not divide by zero
        if name in ("Div", "Mod") or (not loads(e) and self.space.lower(e.a) >= 0 and self.space.lower(e.b) > 0):
            return tirx.Div(a, b) if name.endswith("Div") else tirx.Mod(a, b)
        quotient = let(tirx.Div(a, b))
        rest = let(a - quotient * b)
        below = tirx.And(tirx.NE(rest, like(0, rest)), tirx.LT(tirx.BitwiseXor(rest, b), like(0, rest)))
        return select(below, quotient - like(1, a), quotient) if name == "FloorDiv" else select(below, rest + b, rest)

    def _call(self, e: Expr, parts: list[Expr]) -> Expr:
        name = called(e)
        if name == "likely":
            return parts[0]
        if name in ("pow", "power") and kind(e.args[1]) == "FloatImm":
            return arithmetic.power(parts[0], float(e.args[1].value))
        if name == "fabs" and not is_float(e):
            return select(parts[0] < like(0, parts[0]), like(0, parts[0]) - parts[0], parts[0])
        if is_float(e):
            return arithmetic.call(name, parts)
        raise UnsupportedError(f"no code for TVM's {name} of {dtype_of(e)}")


def masked(memory: Memory | Stack, start: Expr, valid: int) -> Expr:
    """The first `valid` of 16 elements from `start` on, zero after; nothing beyond them is touched."""
    address = T.address_of(memory.buffer[start])
    dtype = str(memory.buffer.dtype)
    keep = tirx.Ramp(i32(0), i32(1), LANES) < splat(valid)
    zero = splat(f32(0.0) if dtype == "float32" else i32(0))
    return T.call_llvm_intrin(f"{dtype}x{LANES}", "llvm.masked.load", address, keep, zero)


def _constant(e: Expr) -> Expr:
    if is_float(e):
        value = float(e.value)
        return f32(value if isinf(value) or isnan(value) else max(-_FLOAT_MAX, min(_FLOAT_MAX, value)))
    if dtype_of(e) == "bool":
        return tirx.IntImm("bool", int(e.value))
    return i32(max(INT32[0], min(INT32[1], int(e.value))))


def _bitwise(name: str, dtype: str, parts: list[Expr]) -> Expr:
    if dtype != "bool":
        return tirx.BitwiseXor(parts[0], like(-1, parts[0])) if name == "BitwiseNot" else getattr(tirx, name)(*parts)
    if name == "BitwiseXor":
        return tirx.NE(*(convert("bool", "int32", p) for p in parts))
    return {"BitwiseAnd": tirx.And, "BitwiseOr": tirx.Or, "BitwiseNot": tirx.Not}[name](*parts)


def _float_floor(a: Expr, b: Expr) -> Expr:
    return arithmetic.call("floor", [a / b])


def memory_type(dtype: str) -> str:
    """The type that a TVM type has in memory and registers: float32 or int32."""
    if dtype.startswith("float"):
        return "float32"
    return "int32"


def convert(source: str, target: str, x: Expr) -> Expr:
    """A cast between graph types, in the types that code uses."""
    if memory_type(source) == memory_type(target) and "bool" not in (source, target):
        return x
    if target == "bool":
        return x if source == "bool" else tirx.NE(x, like(0, x))
    if source == "bool":
        one, zero = (f32(1.0), f32(0.0)) if target.startswith("float") else (i32(1), i32(0))
        n = lanes_of(x)
        return select(x, one if n == 1 else splat(one), zero if n == 1 else splat(zero))
    n = lanes_of(x)
    return tirx.Cast(f"{memory_type(target)}{'' if n == 1 else f'x{n}'}", x)


def like(value: int, x: Expr) -> Expr:
    """A constant of the type and lanes of x."""
    scalar = f32(value) if str(x.ty.dtype).startswith("float") else i32(value)
    return scalar if lanes_of(x) == 1 else splat(scalar, lanes_of(x))


def same_lanes(parts: list[Expr]) -> list[Expr]:
    """Scalars spread over lanes where any operand is a vector."""
    lanes = max(map(lanes_of, parts), default=1)
    return [splat(p, lanes) if lanes_of(p) < lanes else p for p in parts]
