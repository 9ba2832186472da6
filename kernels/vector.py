"""How kernels are written: C functions over ranges, flat memory, 16-lane registers, and the canonical float operations.

A kernel body is ordinary Python that emits TIR: Python loops unroll, `loop` makes a loop. An expression has no value of
its own: one that reads memory or a `Reg` is evaluated where it is *stored*, so fix a value that must survive a later
store, or that is used more than once, with `let`.

Equal bits on every instruction set need two rules. A product that is added must be written `fma` (one rounding always;
a libm call where the CPU has none), or `fence(a * b) + c` where the rounded product is wanted: LLVM would contract a
bare `a * b + c` where it can. Sums over lanes use `sum16`, one fixed tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from edgeq.targets.isa import Isa

LANES = 16
Expr = Any  # a tirx expression, or a Python number where a constant is meant
_IN_REGISTERS = {"disable_lower_builtin": True}
_ROUND = 12582912.0  # 1.5 * 2**23: adding it leaves an integer in the low mantissa bits, halves to even


class Memory:
    """A pointer parameter seen as a flat array of `dtype`; indices count elements."""

    def __init__(self, pointer: Any, dtype: str):
        self.pointer, self.dtype = pointer, dtype
        self.buffer = T.decl_buffer((1 << 40,), dtype, data=pointer)

    def __getitem__(self, i: Expr) -> Expr:
        """Element i."""
        return self.buffer[i]

    def vector(self, i: Expr, lanes: int = LANES) -> Expr:
        """Elements i .. i + lanes - 1."""
        return self.buffer[_ramp(i, lanes)]

    def view(self, i: Expr, dtype: str) -> Expr:
        """The bytes at element i reinterpreted, for example as `float16x16` or `int32`."""
        lanes = _bits(dtype) // _bits(self.dtype)
        return T.reinterpret(dtype, self.vector(i, lanes) if lanes > 1 else self[i])

    def store(self, i: Expr, value: Expr) -> None:
        """Write a scalar or a vector at element i."""
        lanes = lanes_of(value)
        T.buffer_store(self.buffer, value, [i if lanes == 1 else _ramp(i, lanes)])

    def prefetch(self, i: Expr) -> None:
        """Ask for the cache line of element i; an address outside the array is harmless."""
        address = T.address_of(self.buffer[i])
        T.evaluate(T.call_llvm_intrin("void", "llvm.prefetch", address, i32(0), i32(3), i32(1)))

    def as_type(self, dtype: str) -> Memory:
        """The same pointer seen as another element type."""
        return Memory(self.pointer, dtype)


class Reg:
    """A variable that stays in registers: `lanes` of `dtype`; read `.v`, write `.set`."""

    def __init__(self, dtype: str, init: Expr | None = None, lanes: int = LANES):
        self.lanes = lanes
        self.buffer = T.alloc_buffer((lanes,), dtype, scope="local", annotations=_IN_REGISTERS)
        if init is not None:
            self.set(init)

    @property
    def v(self) -> Expr:
        """The current value (read where the expression is used)."""
        return self.buffer[self._at()]

    def set(self, value: Expr) -> None:
        """Assign."""
        T.buffer_store(self.buffer, value, [self._at()])

    def _at(self) -> Expr:
        return i32(0) if self.lanes == 1 else _ramp(0, self.lanes)


class Stack:
    """A small array in the thread's stack (a tile of registers that is indexed at run time); indices count elements."""

    def __init__(self, size: int, dtype: str):
        self.buffer = T.alloc_buffer((size,), dtype, scope="local", annotations=_IN_REGISTERS)

    def __getitem__(self, i: Expr) -> Expr:
        """Element i."""
        return self.buffer[i]

    def vector(self, i: Expr, lanes: int = LANES) -> Expr:
        """Elements i .. i + lanes - 1."""
        return self.buffer[_ramp(i, lanes)]

    def store(self, i: Expr, value: Expr) -> None:
        """Write a scalar or a vector at element i."""
        lanes = lanes_of(value)
        T.buffer_store(self.buffer, value, [i if lanes == 1 else _ramp(i, lanes)])


def function(
    name: str, isa: Isa, scalars: Sequence[str], pointers: Mapping[str, str], body: Callable[..., None]
) -> Any:
    """PrimFunc `void <name>_<isa.name>(int lo, int hi, int scalars..., void *pointers...)`.

    `pointers` maps names to element types, in order. `body(lo, hi, *scalars, *memories)` emits the statements.
    """
    symbol = f"{name}_{isa.name}"
    with IRBuilder() as builder:
        with T.prim_func(s_tir=True):
            T.func_name(symbol)
            ints = [T.arg(s, tirx.Var(s, "int32")) for s in ("lo", "hi", *scalars)]
            raw = [T.arg(p, T.ptr(dtype)) for p, dtype in pointers.items()]
            T.func_attr({"global_symbol": symbol, "tirx.noalias": True, "calling_conv": 1})
            body(*ints, *(Memory(p, dtype) for p, dtype in zip(raw, pointers.values(), strict=True)))
            T.evaluate(i32(0))
        return builder.get()


@contextmanager
def loop(begin: Expr, end: Expr) -> Iterator[Expr]:
    """`for (i = begin; i < end; i++)`; i has the type of the bounds (int32 for Python numbers)."""
    with T.serial(begin, end) as i:
        yield i


@contextmanager
def when(condition: Expr) -> Iterator[None]:
    """`if (condition)`."""
    with T.If(condition), T.Then():
        yield


def branch(condition: Expr, then: Callable[[], None], otherwise: Callable[[], None]) -> None:
    """`if (condition) then(); else otherwise();`, each emitting its statements."""
    with T.If(condition):
        with T.Then():
            then()
        with T.Else():
            otherwise()


def let(value: Expr) -> Expr:
    """Evaluate now; the result can be used later and more than once, whatever is stored in between.

    A register and not a TIR binding, because TVM's simplifier inlines those, and chains of them grow exponentially.
    """
    lanes = lanes_of(value)
    return Reg(_dtype(value).split("x")[0], value, lanes).v


def i32(x: Expr) -> Expr:
    """An int32 constant, or a conversion to int32."""
    return tirx.IntImm("int32", x) if isinstance(x, int) else T.Cast("int32", x)


def i64(x: Expr) -> Expr:
    """An int64 constant, or a conversion to int64 (indices into large weights)."""
    return tirx.IntImm("int64", x) if isinstance(x, int) else T.Cast("int64", x)


def f32(x: float) -> Expr:
    """A float32 constant."""
    return tirx.FloatImm("float32", float(x))


def splat(x: Expr, lanes: int = LANES) -> Expr:
    """A scalar in every lane; Python ints become int32, floats float32."""
    scalar = i32(x) if isinstance(x, int) else f32(x) if isinstance(x, float) else x
    return tirx.Broadcast(scalar, lanes)


def cast(dtype: str, x: Expr) -> Expr:
    """Convert every lane to the element type `dtype`."""
    lanes = lanes_of(x)
    return T.Cast(dtype if lanes == 1 else f"{dtype}x{lanes}", x)


def from_half(isa: Isa, x: Expr) -> Expr:
    """float16 vector -> float32, exact; by integer arithmetic where the CPU has no conversion (no call a lane)."""
    if isa.half:
        return cast("float32", x)
    lanes = lanes_of(x)
    half = let(cast("int32", bits(f"uint16x{lanes}", x)))
    magnitude = let(half & splat(0x7FFF, lanes))
    scaled = bits(f"float32x{lanes}", magnitude << splat(13, lanes)) * splat(2.0**112, lanes)
    special = select(magnitude >= splat(0x7C00, lanes), splat(0x7F800000, lanes), splat(0, lanes))
    sign = (half & splat(0x8000, lanes)) << splat(16, lanes)
    return bits(f"float32x{lanes}", bits(f"int32x{lanes}", scaled) | special | sign)


def bits(dtype: str, x: Expr) -> Expr:
    """Reinterpret the bits of x as `dtype` (lanes written out: `int32x16`)."""
    return T.reinterpret(dtype, x)


def lanes_of(x: Expr) -> int:
    """Number of lanes of an expression."""
    return int(getattr(x.ty.dtype, "lanes", 1)) if hasattr(x, "ty") else 1


def fma(a: Expr, b: Expr, c: Expr) -> Expr:
    """a * b + c, rounded once on every instruction set."""
    return T.call_llvm_pure_intrin(_dtype(c), "llvm.fma", a, b, c)


def fence(x: Expr) -> Expr:
    """x, rounded here: neither LLVM's contraction nor TVM's simplifier looks through it; costs no instruction."""
    return T.call_llvm_pure_intrin(_dtype(x), "llvm.arithmetic.fence", x)


def maximum(a: Expr, b: Expr) -> Expr:
    """Lane-wise `a > b ? a : b`."""
    return tirx.Select(a > b, a, b)


def minimum(a: Expr, b: Expr) -> Expr:
    """Lane-wise `a < b ? a : b`."""
    return tirx.Select(a < b, a, b)


def select(condition: Expr, a: Expr, b: Expr) -> Expr:
    """Lane-wise `condition ? a : b`; both sides are evaluated."""
    return tirx.Select(condition, a, b)


def absolute(x: Expr) -> Expr:
    """|x|."""
    return T.call_llvm_pure_intrin(_dtype(x), "llvm.fabs", x)


def sqrt(x: Expr) -> Expr:
    """Correctly rounded square root."""
    return T.call_llvm_pure_intrin(_dtype(x), "llvm.sqrt", x)


def rint(x: Expr) -> Expr:
    """Nearest integer as float, halves to even; |x| < 2**22. No library call on any instruction set."""
    c = _like(_ROUND, x)
    return fence(fence(x) + c) - c


def sum16(x: Expr) -> Expr:
    """Sum of 16 lanes in the canonical tree: halves 8 + 8, then 4, 2, 1."""
    return _tree(x, lambda a, b: a + b)


def max16(x: Expr) -> Expr:
    """Largest of 16 lanes."""
    return _tree(x, maximum)


def _tree(x: Expr, combine: Callable[[Expr, Expr], Expr]) -> Expr:
    lanes = lanes_of(x)
    while lanes > 1:
        x, lanes = let(x), lanes // 2
        x = combine(part(x, 0, lanes), part(x, lanes, lanes))
    return x


def part(x: Expr, start: int, lanes: int) -> Expr:
    """Lanes start .. start + lanes - 1 of a vector (a scalar when one)."""
    return tirx.Shuffle([x], [i32(start + k) for k in range(lanes)])


def shuffle(x: Expr, order: Sequence[int]) -> Expr:
    """Lane i is lane `order[i]` of x."""
    return tirx.Shuffle([x], [i32(k) for k in order])


def lane_numbers() -> Expr:
    """int32: 0, 1, ..., 15."""
    return _ramp(0, LANES)


def concat(parts: Sequence[Expr]) -> Expr:
    """Vectors of equal type joined into one."""
    total = len(parts) * lanes_of(parts[0])
    return tirx.Shuffle(list(parts), [i32(k) for k in range(total)])


def intrinsic(dtype: str, name: str, *args: Expr) -> Expr:
    """A call of the LLVM intrinsic `name` that has no side effect."""
    return T.call_llvm_pure_intrin(dtype, name, *args)


def _ramp(i: Expr, lanes: int) -> Expr:
    base = i32(i) if isinstance(i, int) else i
    return tirx.Ramp(base, tirx.IntImm(_dtype(base), 1), lanes)


def _dtype(x: Expr) -> str:
    return str(x.ty.dtype)


def _like(value: float, x: Expr) -> Expr:
    lanes = lanes_of(x)
    return f32(value) if lanes == 1 else splat(value, lanes)


def _bits(dtype: str) -> int:
    base, _, lanes = dtype.partition("x")
    return int("".join(c for c in base if c.isdigit())) * int(lanes or 1)
