"""How many entries of a mask are nonzero: the length of a text without its padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.kernels.kernel import Kernel, Param, factory
from edgeq.kernels.naming import symbol
from edgeq.kernels.vector import Expr, Memory, Reg, function, i32, loop, maximum, select
from edgeq.targets.isa import Isa


@factory
def count(L: int) -> Kernel:
    """Nonzero entries of mask: i32[L], at least 1 -> n: i32[1]; parameters mask, n; unit: all of it.

    At least 1, so that attention over what was counted always has a key. An empty range writes nothing.
    """
    name = symbol("count", L)

    def body(lo: Expr, hi: Expr, mask: Memory, n: Memory) -> None:
        with loop(lo, hi):
            total = Reg("int32", i32(0), lanes=1)
            with loop(0, L) as i:
                total.set(total.v + select(mask[i] == 0, i32(0), i32(1)))
            n.store(0, maximum(total.v, i32(1)))

    def build(isa: Isa) -> Any:
        return function(name, isa, [], {"mask": "int32", "n": "int32"}, body)

    return Kernel(name, (Param("mask", "in"), Param("n", "out")), build, "the whole mask")


def reference(mask: np.ndarray) -> int:
    """The same."""
    return max(int(np.count_nonzero(mask)), 1)
