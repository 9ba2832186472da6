"""References of quantization and linear layers."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from edgeq.kernels import linear_float, linear_int
from edgeq.kernels import quantize as quantize_kernels
from edgeq.kernels.epilogue import Epilogue
from edgeq.quant.format import TILE_ROWS, WeightFormat
from edgeq.quant.pack import unpack
from edgeq.quant.quantizer import dequantize
from replay.expected import Expected, rows_of
from replay.step import Arguments

Expectations = Generator[Expected, np.ndarray, None]


def quantize(a: Arguments) -> Expectations:
    """Codes to the nearest integer; sums of the very codes that were stored; the scale of each row."""
    o, chunk = a.options, a.call.kernel.family.endswith("_rows")
    K, size, zero = o["K"], o["group_size"], o["zero"]
    x = a.read("x", np.float32, (a.rows, K))
    nw, nb = (a.optional(n, np.float32, (K,)) for n in ("nw", "nb"))
    xs = float(a.read("xs", np.float32, (1,))[0]) if o["static"] else None
    exact, scale, _ = quantize_kernels.reference(x, o["norm"], o["eps"], o["offset"], nw, nb, xs)
    groups = len(quantize_kernels.corrections(np.zeros((1, K), np.int8), size, zero)[0])
    stored = a.padded_rows if chunk else 1
    missing = stored - a.rows  # rows after the last valid one are zeros
    exact, scale = np.pad(exact, ((0, missing), (0, 0))), np.pad(scale, (0, missing))
    codes = yield Expected("q", panel(a, stored, K, 4) if chunk else rows_of(1, K), exact, np.int8, "codes")
    sums = quantize_kernels.corrections(codes, size, zero)
    yield Expected("corr", panel(a, stored, groups, 1) if chunk else rows_of(1, groups), sums, np.int32, "exact")
    yield Expected("sa", rows_of(stored, 1), scale[:, None], np.float32)


def panel(a: Arguments, rows: int, width: int, quad: int) -> np.ndarray:
    """Element numbers [rows, width] in the GEMM's layout `[rows / R][width / quad][R][quad]`."""
    R = a.step.isa.gemm_rows
    numbers = np.arange(rows * width).reshape(rows // R, width // quad, R, quad)
    return numbers.transpose(0, 2, 1, 3).reshape(rows, width)


def integer(a: Arguments) -> Expectations:
    """Exact integer sums of the codes in memory, then float64."""
    N, K, fmt = _stored_rows(a), a.options["K"], a.options["fmt"]
    stored = a.padded_rows if "m" in a.names else 1
    q = a.read("q", np.int8, (stored * K,))
    codes = q[panel(a, stored, K, 4)][: a.rows] if "m" in a.names else q[None]
    weights = unpack(a.read("w", np.uint8, (fmt.nbytes(N, K),)), N, K, fmt)
    sa = a.read("sa", np.float32, (a.rows,))
    bias, residual = _added(a)
    yield _output(a, linear_int.reference(weights, fmt, codes, sa, a.options["epilogue"], bias, residual))


def floating(a: Arguments) -> Expectations:
    """float64 product with the dequantized weight."""
    N, K, fmt = _stored_rows(a), a.options["K"], a.options["fmt"]
    weights = matrix(a.read("w", np.uint8, (fmt.nbytes(N, K),)), N, K, fmt)
    x = a.read("x", np.float32, (a.rows, K))
    bias, residual = _added(a)
    yield _output(a, linear_float.reference(weights, x, a.options["epilogue"], bias, residual))


def matrix(data: np.ndarray, N: int, K: int, fmt: WeightFormat) -> np.ndarray:
    """Packed bytes -> values [N, K]."""
    codes, scale, zero = unpack(data, N, K, fmt)
    return np.asarray(dequantize(codes, scale, zero, fmt))


def _added(a: Arguments) -> tuple[Any, Any]:
    """Bias f32[N] and residual f32[m, N], None where there is none."""
    N = _stored_rows(a)
    bias = a.read("bias", np.float32, (N,)) if a.options["bias"] else None
    adds = Epilogue.parse(a.options["epilogue"]).kind == "add"
    return bias, a.read("r", np.float32, (a.rows, N)) if adds else None


def _stored_rows(a: Arguments) -> int:
    """Rows of the weight with the zeros that fill its last tile."""
    return -(-int(a.options["N"]) // TILE_ROWS) * TILE_ROWS


def _width(a: Arguments) -> int:
    return Epilogue.parse(a.options["epilogue"]).width(a.options["N"])


def _output(a: Arguments, values: np.ndarray) -> Expected:
    return Expected("o", rows_of(a.rows, _width(a)), values, np.float32)
