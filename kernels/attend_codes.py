"""Attention whose probabilities are codes and whose values are int8: softmax x V by integer dot products.

As `attend`, but probabilities are rounded to a grid (`edgeq.ir.probabilities`: logarithmic, AGQ, or even) when their
row is complete, and meet values that `attend_values` has quantized. Scores stay float.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.ir.probabilities import ProbabilityGrid
from edgeq.kernels import attend, attend_values
from edgeq.kernels.attend_codes_tile import CodedBlock, CodedBuffers, CodedShape
from edgeq.kernels.attend_tile import over_blocks
from edgeq.kernels.kernel import Kernel, Param, factory
from edgeq.kernels.naming import symbol
from edgeq.kernels.vector import Expr, Memory, function
from edgeq.targets.isa import Isa

_TYPES = {"q": "float32", "k": "float32", "vq": "int32", "vs": "float32", "ps": "float32", "pad": "int32"}
_TYPES |= dict.fromkeys(("bias", "row_bias", "column_bias", "scratch", "o"), "float32")
_ACCESS = {"scratch": "scratch", "o": "out"}


@factory
def attend_codes(
    B: int, S: int, L: int, H: int, HK: int, D: int, Dv: int, ldq: int, ldk: int, scale: float, probs: str,
    causal: bool = False, left: int = -1, right: int = -1, softcap: float = 0.0, pad: bool = False, bias: str = "",
) -> Kernel:  # fmt: skip
    """`grid(softmax(scale * q @ k.T + bias)) @ int8(v)` of every head; arguments as of `attend.attend`.

    Parameters q, k, vq, vs, ps, pad, bias, row_bias, column_bias, scratch, o. probs: text of a `ProbabilityGrid`;
    vq, vs: as `attend_values.values` writes them; ps f32[1]: the value of the grid's largest level, positive.
    Raises UnsupportedError as `attend` does, and for more keys than int32 sums hold. Units: `attend.units(kernel)`.
    """
    shape = CodedShape(B, S, L, H, HK, D, Dv, ldq, ldk, Dv, scale, causal, left, right, softcap, pad, bias, probs)
    sizes = symbol("attend", probs.replace(":", "x"), B, S, L, H, HK, D, Dv, ldq, ldk, float(scale))
    flags = symbol(int(causal), left, right, float(softcap), int(pad), bias.replace(",", "x") or "n")
    name = f"{sizes}_{flags}"

    def build(isa: Isa) -> Any:
        def body(lo: Expr, hi: Expr, *memories: Memory) -> None:
            at = CodedBuffers.of(dict(zip(_TYPES, memories, strict=True)))
            over_blocks(CodedBlock, shape, isa, at, lo, hi)

        return function(name, isa, [], _TYPES, body)

    params = tuple(Param(p, _ACCESS.get(p, "in")) for p in _TYPES)
    return Kernel(name, params, build, "block of queries", 0, L * H * (D + Dv))


def scratch_bytes(kernel: Kernel) -> int:
    """Private memory that a thread needs for a kernel made by `attend_codes`."""
    return CodedShape(**kernel.options, ldv=kernel.options["Dv"]).layout["end"] * 4


def reference(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float, probs: str, s: float, **masks: Any
) -> np.ndarray:
    """As `attend.reference` (q [B,S,H,D], ..., -> [B,S,H,Dv]), of the same grids, in float64."""
    L, G = k.shape[1], q.shape[2] // k.shape[2]
    one = np.broadcast_to(np.eye(L)[None, :, None], (len(q), L, k.shape[2], L))
    p = np.moveaxis(attend.reference(q, k, one, scale, **masks), 2, 1)  # [B, H, S, L]
    codes, scales = attend_values.reference(v)
    held = np.repeat(codes * scales[:, None].astype(np.float64), G, 2)
    return np.einsum("bhsl,blhd->bshd", levels(probs, s)[encode(p, probs, s)], held)


def encode(p: np.ndarray, probs: str, s: float) -> np.ndarray:
    """Probabilities -> codes."""
    grid = ProbabilityGrid.parse(probs)
    if not grid.tau:
        return np.rint(np.minimum(p * (grid.last / s), grid.last)).astype(int)
    with np.errstate(divide="ignore"):
        steps = -grid.tau * np.log2(p / s)
    return np.rint(np.clip(steps, 0, grid.last)).astype(int)


def levels(probs: str, s: float) -> np.ndarray:
    """What each code means."""
    return s * np.array(ProbabilityGrid.parse(probs).levels)
