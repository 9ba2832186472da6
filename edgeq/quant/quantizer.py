"""Round-to-nearest quantization of a weight, a block of rows at a time (rows do not depend on each other)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeq.errors import ModelError, UnsupportedError, UsageError
from edgeq.quant.format import WeightFormat
from edgeq.quant.ranges import RANGES, Range, signed_codes

BLOCK_WEIGHTS = 1 << 18  # a block of float32 temporaries stays in cache
FP16_MAX = 65504.0
FP16_NORMAL = 2.0**-14  # below it fp16 has fixed steps of 2^-24

Quantized = tuple[NDArray[np.generic], NDArray[np.float16] | None, NDArray[np.uint8] | None]


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
        codes uint8[N, K], scale float16[N, KG] and zero uint8[N, KG] (None when symmetric), nearest codes of the scale
        as it is stored; of a float format (values[N, K], None, None).

    Raises:
        UsageError: unknown method. ModelError: NaN or infinity in w.
        UnsupportedError: a width that the format cannot store, or a value too large for fp16.
    """
    if method not in RANGES:
        raise UsageError(f"quantization range {method!r} is not known; known: {', '.join(RANGES)}")
    x = torch.as_tensor(w)
    N, K = x.shape
    fmt.check_width(K)
    if fmt.is_float:
        return _convert(x, fmt, name), None, None
    codes = torch.empty((N, K), dtype=torch.uint8)
    scale = torch.empty((N, fmt.groups(K)), dtype=torch.float16)
    zero = torch.empty(scale.shape, dtype=torch.uint8)

    def block(rows: slice) -> None:
        _quantize_rows(x[rows].float(), fmt, RANGES[method], name, codes[rows], scale[rows], zero[rows])

    step = max(1, BLOCK_WEIGHTS // K)
    _each_block(block, [slice(n, min(N, n + step)) for n in range(0, N, step)])
    return codes.numpy(), scale.numpy(), None if fmt.symmetric else zero.numpy()


def dequantize(codes: NDArray[np.generic], scale: NDArray[np.float16] | None, zero: NDArray[np.uint8] | None,
               fmt: WeightFormat) -> NDArray[np.float32]:  # fmt: skip
    """float32[N, K] that the stored numbers stand for: `(code - zero) * scale`."""
    if fmt.is_float or scale is None:
        return codes.astype(np.float32)
    bounds = fmt.group_bounds(codes.shape[1])
    lengths = [end - start for start, end in bounds]
    signed = codes.astype(np.float32)
    signed -= np.float32(fmt.zero_point or 0) if zero is None else np.repeat(zero.astype(np.float32), lengths, axis=1)
    signed *= np.repeat(scale.astype(np.float32), lengths, axis=1)
    return signed


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


def _quantize_rows(x: Tensor, fmt: WeightFormat, find: Range, name: str, codes: Tensor, scale: Tensor,
                   zero: Tensor) -> None:  # fmt: skip
    """Fill codes, scale and zero of one block of rows `x` float32[R, K]: the whole groups, then a shorter last one."""
    R, K = x.shape
    _check_finite(x, name)
    size = fmt.group_size or K
    whole = K // size
    parts = [(0, whole, size)] + ([(whole, 1, K % size)] if K % size else [])
    for first, count, length in parts:
        if not count:
            continue
        columns = slice(first * size, first * size + count * length)
        groups = x[:, columns].reshape(R, count, length)
        s, z = find(groups, fmt)
        s = stored_scale(s, name)
        a = signed_codes(groups, s.float(), z, fmt)
        codes[:, columns] = a.add_(z.unsqueeze(-1)).to(torch.uint8).reshape(R, -1)
        scale[:, first : first + count], zero[:, first : first + count] = s, z.to(torch.uint8)


def stored_scale(scale: Tensor, name: str) -> Tensor:
    """`scale` in fp16, a tiny one rounded up to a multiple of 2^-24, so that it neither vanishes nor clips."""
    if (scale.abs() > FP16_MAX).any():
        raise UnsupportedError(f"{name}: a scale of {scale.abs().max():.3g} does not fit fp16; use --bits fp32")
    tiny = torch.ceil(scale.abs() * 2**24) * 2**-24 * torch.sign(scale)
    return torch.where(scale.abs() < FP16_NORMAL, tiny, scale).half()
