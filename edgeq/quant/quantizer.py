"""Round-to-nearest quantization of a weight, a block of rows at a time (rows do not depend on each other)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeq.errors import ModelError, UnsupportedError, UsageError
from edgeq.quant import sparse
from edgeq.quant.fits import fit_of
from edgeq.quant.format import WeightFormat
from edgeq.quant.ranges import RANGES, Range, signed_codes
from edgeq.quant.stored_scale import FP16_MAX, stored_scale
from edgeq.quant.values import dequantized

BLOCK_WEIGHTS = 1 << 18  # a block of float32 temporaries stays in cache

Quantized = tuple[NDArray[np.generic], NDArray[np.float16] | None, NDArray[Any] | None]


def quantize(
    w: Tensor | NDArray[np.floating], fmt: WeightFormat, method: str = "minmax", name: str = "weight"
) -> Quantized:
    """What `pack` takes, from a weight.

    Args:
        w: float[N, K] of any float dtype.
        fmt: the format; f16 and f32 only convert.
        method: a name of `RANGES`: `minmax` or `mse`.
        name: what to call the weight in errors.

    Returns:
        codes uint8[N, K], scale float16[N, KG] and zero uint8[N, KG] (None when symmetric; float16 offsets of kind
        `min`), nearest codes of the scale as it is stored; of a float format (values[N, K], None, None).

    Raises:
        UsageError: unknown method, or a weight that is not 2:4 in a sparse format. ModelError: NaN or infinity in w.
        UnsupportedError: a width that the format cannot store, a value too large for fp16, or a format that only a
        pass can fit.
    """
    if method not in RANGES:
        raise UsageError(f"quantization range {method!r} is not known; known: {', '.join(RANGES)}")
    x = torch.as_tensor(w)
    N, K = x.shape
    fmt.check_width(K)
    if fmt.is_float:
        return _convert(x, fmt, name), None, None
    codes = torch.empty((N, K), dtype=torch.uint8)
    scale = torch.empty((N, fmt.groups(K) * fmt.meaning.numbers), dtype=torch.float16)
    zero = torch.empty((N, fmt.groups(K)), dtype=getattr(torch, fmt.zero_type))

    def block(rows: slice) -> None:
        _quantize_rows(x[rows].float(), fmt, method, name, codes[rows], scale[rows], zero[rows])

    step = max(1, BLOCK_WEIGHTS // K)
    _each_block(block, [slice(n, min(N, n + step)) for n in range(0, N, step)])
    if fmt.meaning.sparse:
        sparse.check(codes.numpy(), fmt.zero_point or 0, str(fmt), name)
    return codes.numpy(), scale.numpy(), None if fmt.symmetric else zero.numpy()


def dequantize(codes: NDArray[np.generic], scale: NDArray[np.float16] | None, zero: NDArray[Any] | None,
               fmt: WeightFormat) -> NDArray[np.float32]:  # fmt: skip
    """float32[N, K] that the stored numbers stand for."""
    if fmt.is_float or scale is None:
        return codes.astype(np.float32)
    tables = (torch.from_numpy(codes), torch.from_numpy(scale), None if zero is None else torch.from_numpy(zero))
    return dequantized(*tables, fmt).numpy()


def _each_block(work: Callable[[slice], None], blocks: list[slice]) -> None:
    """Run `work` on every block, one block a thread: small tensors gain nothing from torch's threads inside an op."""
    threads = min(len(blocks), torch.get_num_threads())
    if threads <= 1:
        for rows in blocks:
            work(rows)
        return
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(work, blocks))
    finally:
        torch.set_num_threads(before)


def _convert(x: Tensor, fmt: WeightFormat, name: str) -> NDArray[np.generic]:
    values = x.to(torch.float16 if fmt.bits == 16 else torch.float32)
    if not torch.isfinite(values).all():
        _check_finite(x, name)
        raise UnsupportedError(f"{name}: values beyond fp16's {FP16_MAX:.0f}; use --bits fp32")
    return values.numpy()


def _check_finite(x: Tensor, name: str) -> None:
    if not torch.isfinite(x).all():
        raise ModelError(f"{name}: contains NaN or infinity; the checkpoint is damaged")


def _quantize_rows(x: Tensor, fmt: WeightFormat, method: str, name: str, codes: Tensor, scale: Tensor,
                   zero: Tensor) -> None:  # fmt: skip
    """Fill codes, scale and zero of one block of rows `x` float32[R, K]: the whole groups, then a shorter last one."""
    R, K = x.shape
    _check_finite(x, name)
    size, numbers = fmt.group_size or K, fmt.meaning.numbers
    whole = K // size
    parts = [(0, whole, size)] + ([(whole, 1, K % size)] if K % size else [])
    for first, count, length in parts:
        if not count:
            continue
        columns = slice(first * size, first * size + count * length)
        c, s, z = _fit(x[:, columns].reshape(R, count, length), fmt, method, name)
        codes[:, columns], scale[:, first * numbers : (first + count) * numbers] = c.reshape(R, -1), s.reshape(R, -1)
        if z is not None:
            zero[:, first : first + count] = z


def _fit(groups: Tensor, fmt: WeightFormat, method: str, name: str) -> tuple[Tensor, Tensor, Tensor | None]:
    """Codes u8, scale f16 and zero of groups float32[R, G, L]."""
    fit = fit_of(fmt)
    if fit is not None:
        return fit(groups, fmt, method, name)
    if fmt.kind != "int" and not fmt.meaning.sparse:
        raise UnsupportedError(f"{name}: {fmt} has no rounding to nearest; a pass must put the weight on its grid")
    return _plain(groups, fmt, RANGES[method], name)


def _plain(groups: Tensor, fmt: WeightFormat, find: Range, name: str) -> tuple[Tensor, Tensor, Tensor]:
    s, z = find(groups, fmt)
    s = stored_scale(s, name)
    a = signed_codes(groups, s.float(), z, fmt)
    return a.add_(z.unsqueeze(-1)).to(torch.uint8), s, z.to(torch.uint8)
