"""Several reductions over 16 lanes at once: what one vector needs in shuffles serves as many as there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import tirx

from edgeq.kernels.vector import LANES, Expr, i32, let


def reduce_many(vectors: Sequence[Expr], combine: Callable[[Expr, Expr], Expr]) -> Expr:
    """Up to 16 vectors -> a vector whose lane i is the reduction of vector i (lanes beyond: of any).

    Each is the tree of `sum16`: lanes i and i + 8, then i + 4, i + 2, i + 1, so that sums have the same bits.
    """
    assert 0 < len(vectors) <= LANES
    held = [(let(v), [i]) for i, v in enumerate(vectors)]  # a vector of pieces, and whose each piece is
    size = LANES
    while size > 1:
        pairs = [(held[i], held[min(i + 1, len(held) - 1)]) for i in range(0, len(held), 2)]
        held = [_merge(a, b, size, combine) for a, b in pairs]
        size //= 2
    ((vector, owners),) = held
    order = [owners.index(min(i, len(vectors) - 1)) for i in range(LANES)]
    return let(tirx.Shuffle([vector], [i32(i) for i in order]))


def _merge(
    a: tuple[Expr, list[int]], b: tuple[Expr, list[int]], size: int, combine: Callable[[Expr, Expr], Expr]
) -> tuple[Expr, list[int]]:
    """Halves of every piece combined: the pieces of a, then those of b, half as long."""
    half = size // 2
    starts = range(0, LANES, size)
    low = [base + at + k for base in (0, LANES) for at in starts for k in range(half)]
    first, second = (tirx.Shuffle([a[0], b[0]], [i32(i + off) for i in low]) for off in (0, half))
    return let(combine(first, second)), a[1] + b[1]
