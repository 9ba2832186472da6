"""What integer linears over bit planes (`p2`, `c4`) compute, in numpy: the kernels are `linear_int`'s."""

from __future__ import annotations

import numpy as np

from edgeq.kernels.epilogue import Epilogue
from edgeq.quant.format import WeightFormat


def reference(
    codes: np.ndarray, numbers: np.ndarray, fmt: WeightFormat, q: np.ndarray, sa: np.ndarray, epilogue: str = "store",
    bias: np.ndarray | None = None, r: np.ndarray | None = None,
) -> np.ndarray:
    """Exact integer sums a plane and group, then float64.

    Args:
        codes: uint8[N, K], 0..3. numbers: f16[N, KG * 2] (`p2`) or [N, KG * 4] (`c4`). fmt: their format.
        q: int8[M, K]. sa: f32[M]. epilogue, bias, r: as of `linear_int.gemv`.

    Returns:
        f64[M, N], or half as wide when gated.
    """
    y = np.zeros((len(q), len(codes)))
    held = numbers.astype(np.float64).reshape(len(codes), -1, fmt.meaning.numbers)
    for g, (start, stop) in enumerate(fmt.group_bounds(codes.shape[1])):
        own, c = q[:, start:stop].astype(np.int64), codes[:, start:stop].astype(np.int64)
        low, high, both = (own @ plane.T for plane in (c & 1, c >> 1, (c & 1) * (c >> 1)))
        t = held[:, g].T
        if fmt.kind == "planes":
            y += low * t[0] + high * t[1]
        else:
            y += own.sum(1)[:, None] * t[0] + low * (t[1] - t[0]) + high * (t[2] - t[0])
            y += both * (t[3] - t[2] - t[1] + t[0])
    y *= sa.astype(np.float64)[:, None]
    return Epilogue.parse(epilogue).reference(y if bias is None else y + bias, r)
