"""Packing: codes, scales and zero points <-> the bytes that kernels read. The layout itself is in `format.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import UnsupportedError
from edgeq.quant.exponents import exponents, power_of_two
from edgeq.quant.format import TILE_ROWS, VECTOR_BYTES, WeightFormat
from edgeq.quant.sparse import without_padding
from edgeq.quant.vectors import group_codes, group_vectors

Array = NDArray[Any]
FIRST_SPECIAL = {"e4m3": 0x7F, "e5m2": 0x7C}  # without their sign: from here on NaN and infinities
CHUNK_WEIGHTS = 1 << 22  # weights packed at a time: temporaries stay in cache-sized pieces


def pack(codes: Array, scale: Array | None, zero: Array | None, fmt: WeightFormat) -> NDArray[np.uint8]:
    """Bytes of one weight.

    Args:
        codes: uint8[N, K]; of a float format the values themselves, any float dtype.
        scale: float16[N, KG], of formats with several numbers a group [N, KG * numbers]; None of a float format.
        zero: uint8[N, KG] zero points, float16[N, KG] offsets of kind `min`, else None.
        fmt: how to store it.

    Returns:
        uint8[ceil(N/16) * fmt.tile_bytes(K)]; rows past N are zero bytes, so their scale is 0.

    Raises UnsupportedError for codes that stand for nothing: of `fp8` NaN and infinities, of tables those beyond.
    """
    N, K = codes.shape
    _check(codes, fmt)
    out = np.zeros((-(-N // TILE_ROWS), fmt.tile_bytes(K)), np.uint8)
    step = max(1, CHUNK_WEIGHTS // (K * TILE_ROWS))
    for t in range(0, len(out), step):
        rows = slice(t * TILE_ROWS, min(N, (t + step) * TILE_ROWS))
        if fmt.is_float or scale is None:
            _pack_float(codes[rows], fmt, out[t : t + step])
        else:
            _pack_codes(codes[rows], scale[rows], None if zero is None else zero[rows], fmt, out[t : t + step])
    return out.reshape(-1)


def unpack(data: Array, N: int, K: int, fmt: WeightFormat) -> tuple[Array, Array | None, Array | None]:
    """Inverse of `pack`: (codes uint8[N, K], scale float16[N, KG * numbers], zero uint8 or float16[N, KG] or None).

    Of a float format: (values float16 or float32[N, K], None, None).
    """
    tiles = np.ascontiguousarray(data).view(np.uint8).reshape(-(-N // TILE_ROWS), fmt.tile_bytes(K))
    if fmt.is_float:
        values = tiles.view(f"f{fmt.bits // 8}").reshape(len(tiles), K, TILE_ROWS)
        return values.transpose(0, 2, 1).reshape(-1, K)[:N], None, None
    codes = np.empty((len(tiles), TILE_ROWS, K), np.uint8)
    scale, zero = [], []
    for (start, end), at in zip(fmt.group_bounds(K), fmt.offsets(K), strict=True):
        stored = tiles[:, at.vectors : at.vectors + fmt.vectors(end - start) * VECTOR_BYTES]
        codes[:, :, start:end] = group_codes(stored, end - start, fmt)
        scale.append(_scales(tiles[:, at.scale : at.scale + fmt.number_bytes], fmt))
        zero.append(_zeros(tiles[:, at.zero : at.zero + fmt.zero_bytes], fmt))
    columns = [np.concatenate(part, axis=2).reshape(len(tiles) * TILE_ROWS, -1)[:N] for part in (scale, zero)]
    return codes.reshape(-1, K)[:N], columns[0], None if fmt.symmetric else columns[1]


def _scales(stored: Array, fmt: WeightFormat) -> Array:
    """float16[T, 16, numbers] of a group's bytes."""
    if fmt.meaning.scale_bytes == 1:
        return power_of_two(stored).reshape(len(stored), TILE_ROWS, 1)
    return np.ascontiguousarray(stored).view(np.float16).reshape(len(stored), -1, TILE_ROWS).transpose(0, 2, 1)


def _zeros(stored: Array, fmt: WeightFormat) -> Array:
    return np.ascontiguousarray(stored).view(fmt.zero_type).reshape(len(stored), TILE_ROWS, -1)


def _check(codes: Array, fmt: WeightFormat) -> None:
    if fmt.kind in FIRST_SPECIAL:
        wrong = bool(((codes & 0x7F) >= FIRST_SPECIAL[fmt.kind]).any())
    else:
        wrong = fmt.levels is not None and bool((codes >= fmt.codes).any())
    if wrong:
        raise UnsupportedError(f"{fmt}: codes of no finite value; the checkpoint is damaged, or of another format")


def _whole_tiles(x: Array, tiles: int) -> Array:
    """[N, ...] -> contiguous [tiles, 16, ...], missing rows zero."""
    missing = tiles * TILE_ROWS - len(x)
    if missing:
        x = np.concatenate([x, np.zeros((missing, *x.shape[1:]), x.dtype)])
    return np.ascontiguousarray(x).reshape(tiles, TILE_ROWS, *x.shape[1:])


def _pack_float(values: Array, fmt: WeightFormat, out: NDArray[np.uint8]) -> None:
    x = _whole_tiles(values.astype(f"f{fmt.bits // 8}", copy=False), len(out))
    out.view(x.dtype).reshape(len(out), -1, TILE_ROWS)[...] = x.transpose(0, 2, 1)


def _pack_codes(codes: Array, scale: Array, zero: Array | None, fmt: WeightFormat, out: NDArray[np.uint8]) -> None:
    """Fill `out` uint8[T, tile_bytes] with up to 16 T rows: whole blocks at once, then the groups of a ragged end."""
    T, K = len(out), codes.shape[1]
    x = _whole_tiles(codes.astype(np.uint8, copy=False), T)
    s = _whole_tiles(scale.astype(np.float16, copy=False), T)
    z = None if zero is None else _whole_tiles(zero.astype(fmt.zero_type, copy=False), T)
    if fmt.meaning.sparse:
        x = without_padding(x, s, fmt.zero_point or 0)
    size = fmt.group_size or K
    whole = K // (size * fmt.block_groups)
    if whole:
        _pack_blocks(x, s, z, fmt, size, out[:, : whole * fmt.block_bytes(K)].reshape(T, whole, -1))
    bounds, offsets = fmt.group_bounds(K), fmt.offsets(K)
    numbers = fmt.meaning.numbers
    for g in range(whole * fmt.block_groups, len(bounds)):
        (start, end), at = bounds[g], offsets[g]
        vectors = group_vectors(x[:, :, start:end], 1, fmt)[:, 0]
        out[:, at.vectors : at.vectors + vectors.shape[-1]] = vectors
        out[:, at.scale : at.scale + fmt.number_bytes] = _lines(s[:, :, g * numbers : (g + 1) * numbers], fmt)
        if z is not None:
            out[:, at.zero : at.zero + fmt.zero_bytes] = _rows_inside(z[:, :, g : g + 1])


def _pack_blocks(x: Array, s: Array, z: Array | None, fmt: WeightFormat, size: int, out: Array) -> None:
    """Fill `out` uint8[T, blocks, block_bytes] from the first whole blocks of x, s, z `[T, 16, ...]`."""
    T, blocks = out.shape[:2]
    KG = blocks * fmt.block_groups
    code_bytes = fmt.block_groups * fmt.vectors(size) * VECTOR_BYTES
    scale_bytes = fmt.block_groups * fmt.number_bytes
    out[:, :, :code_bytes] = group_vectors(x[:, :, : KG * size], KG, fmt).reshape(T, blocks, code_bytes)
    scales = _lines(s[:, :, : KG * fmt.meaning.numbers], fmt)
    out[:, :, code_bytes : code_bytes + scale_bytes] = scales.reshape(T, blocks, scale_bytes)
    if z is not None:
        out[:, :, code_bytes + scale_bytes :] = _rows_inside(z[:, :, :KG]).reshape(T, blocks, -1)


def _lines(scale: Array, fmt: WeightFormat) -> Array:
    """Bytes of scales float16[T, 16, numbers], the rows of each number side by side: uint8[T, ...]."""
    return _rows_inside(exponents(scale) if fmt.meaning.scale_bytes == 1 else scale)


def _rows_inside(x: Array) -> Array:
    """[T, 16, G] -> bytes of [T, G, 16]."""
    return np.ascontiguousarray(x.transpose(0, 2, 1)).view(np.uint8).reshape(len(x), -1)
