"""A plan whose entries each run one linear over and over, on weights that lie one after another."""

from __future__ import annotations

from dataclasses import dataclass

from edgeq.kernels import linear_float, linear_int, sparse
from edgeq.kernels.kernel import Kernel
from edgeq.lower.arena import stack
from edgeq.lower.plan import NULL, Arg, Call, Entry, Literal, Plan, Region, Split, Weight
from edgeq.lower.values import Buffer
from edgeq.lower.weights import TILE, padded
from edgeq.quant.format import WeightFormat

ROW_RUNS, CHUNK_RUNS = (8, 512), (4, 16)  # least and most calls of one walk: of one row, of a chunk's rows
CHUNK_WEIGHTS = 8 << 20  # bytes that the calls of a chunk walk over: weights hardly count there


@dataclass(frozen=True)
class Linear:
    """One linear layer as a kernel sees it.

    Attributes:
        n, k: rows (outputs) and columns (inputs) of the weight; merged linears count as one.
        format: of the weight: "w4g32", "w8", "f16", ...
        act: "a8", "a8s" or "a16".
        rows: activation rows: 1 when decoding, the chunk's when prefilling, a static entry's.
    """

    n: int
    k: int
    format: str
    act: str = "a8"
    rows: int = 1

    @property
    def name(self) -> str:
        """`w4g32 a8 960x576 1`: what its timing is kept under; `a8s` runs the kernel of `a8`."""
        return f"{self.format} {self.act[:2] if self.integer else self.act} {self.n}x{self.k} {self.rows}"

    @property
    def kind(self) -> str:
        """`w4g32 int row`, `f16 float rows`: kernels of one kind take as long for a multiply-add."""
        return f"{self.format} {'int' if self.integer else 'float'} {'row' if self.rows == 1 else 'rows'}"

    @property
    def integer(self) -> bool:
        """Whether activations are codes."""
        return self.act in ("a8", "a8s")

    @property
    def weight_bytes(self) -> int:
        """Stored bytes."""
        return WeightFormat.parse(self.format).nbytes(padded(self.n), padded(self.k))

    @property
    def ops(self) -> int:
        """Multiply-adds of all rows."""
        return self.n * self.k * self.rows

    def kernel(self) -> Kernel:
        """The kernel that a plan would call, without epilogue; raises UnsupportedError where there is none."""
        fmt = WeightFormat.parse(self.format)
        family = sparse if fmt.meaning.sparse else linear_int if self.integer else linear_float
        make = family.gemv if self.rows == 1 else family.gemm
        return make(padded(self.n), padded(self.k), fmt, "store", False)


def kernel_plan(linears: list[Linear], cold: int) -> tuple[Plan, dict[str, int]]:
    """A plan with a static entry `linear_0`, `linear_1`, ... of each, and the bytes of its weights.

    cold: bytes of weights that an entry of one row walks over before it comes to the first again.
    """
    entries, sizes, arena = [], dict[str, int](), 128
    for index, linear in enumerate(linears):
        buffers, calls = _calls(linear, index, cold)
        arena = max(arena, stack(buffers, 0))
        entries.append(Entry(f"linear_{index}", 0, [Region([call], [linear.name]) for call in calls], buffers))
        sizes |= {call.args[linear.rows > 1].name: linear.weight_bytes for call in calls}  # type: ignore[union-attr]
    return Plan(entries, arena, 128, 0, 0, None, None, []), sizes


def _calls(linear: Linear, index: int, cold: int) -> tuple[list[Buffer], list[Call]]:
    kernel, rows, k = linear.kernel(), -(-linear.rows // TILE) * TILE, padded(linear.k)
    groups = WeightFormat.parse(linear.format).groups(k)
    widths = {"codes": k, "sums": 4 * groups, "scale": 4} if linear.integer else {"x": 4 * k}
    inputs = [Buffer(name, size, rows) for name, size in widths.items()]
    out = Buffer("out", 4 * padded(linear.n), rows)
    head: tuple[Arg, ...] = (Literal(str(linear.rows)),) if linear.rows > 1 else ()
    split = Split("units", padded(linear.n) // TILE)
    calls = [
        Call(kernel, (*head, Weight(f"{index}.{i}"), NULL, *inputs, NULL, out), split, tuple(inputs), (out,))
        for i in range(_runs(linear, cold))
    ]
    return [*inputs, out], calls


def _runs(linear: Linear, cold: int) -> int:
    least, most = ROW_RUNS if linear.rows == 1 else CHUNK_RUNS
    wanted = (cold if linear.rows == 1 else CHUNK_WEIGHTS) // linear.weight_bytes + 1
    return min(max(wanted, least), most)
