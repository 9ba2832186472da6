"""Packing: codes, scales and zero points <-> the bytes that kernels read. The layout itself is in `format.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.quant.format import TILE_ROWS, VECTOR_BYTES, WeightFormat

Array = NDArray[Any]
CHUNK_WEIGHTS = 1 << 22  # weights packed at a time: temporaries stay in cache-sized pieces


def pack(codes: Array, scale: Array | None, zero: Array | None, fmt: WeightFormat) -> NDArray[np.uint8]:
    """Bytes of one weight.

    Args:
        codes: uint8[N, K]; of a float format the values themselves, any float dtype.
        scale: float16[N, KG]; None of a float format.
        zero: uint8[N, KG] of an asymmetric format, else None.
        fmt: how to store it.

    Returns:
        uint8[ceil(N/16) * fmt.tile_bytes(K)]; rows past N are zero bytes, so their scale is 0.
    """
    N, K = codes.shape
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
    """Inverse of `pack`: (codes uint8[N, K], scale float16[N, KG], zero uint8[N, KG] or None).

    Of a float format: (values float16 or float32[N, K], None, None).
    """
    tiles = np.ascontiguousarray(data).view(np.uint8).reshape(-(-N // TILE_ROWS), fmt.tile_bytes(K))
    if fmt.is_float:
        values = tiles.view(f"f{fmt.bits // 8}").reshape(len(tiles), K, TILE_ROWS)
        return values.transpose(0, 2, 1).reshape(-1, K)[:N], None, None
    KG = fmt.groups(K)
    codes = np.empty((len(tiles), TILE_ROWS, K), np.uint8)
    scale = np.empty((len(tiles), TILE_ROWS, KG), np.float16)
    zero = None if fmt.symmetric else np.empty((len(tiles), TILE_ROWS, KG), np.uint8)
    for g, ((start, end), at) in enumerate(zip(fmt.group_bounds(K), fmt.offsets(K), strict=True)):
        codes[:, :, start:end] = _group_codes(tiles, at.vectors, end - start, fmt)
        scale[:, :, g] = np.ascontiguousarray(tiles[:, at.scale : at.scale + 2 * TILE_ROWS]).view(np.float16)
        if zero is not None:
            zero[:, :, g] = tiles[:, at.zero : at.zero + TILE_ROWS]
    rows = (codes.reshape(-1, K)[:N], scale.reshape(-1, KG)[:N])
    return *rows, None if zero is None else zero.reshape(-1, KG)[:N]


def _group_codes(tiles: Array, at: int, length: int, fmt: WeightFormat) -> Array:
    """uint8[T, 16, length]: one group's codes from its vectors."""
    V = fmt.vectors(length)
    x = tiles[:, at : at + V * VECTOR_BYTES].reshape(len(tiles), V, TILE_ROWS, 4).transpose(0, 2, 1, 3)
    if fmt.bits == 4:
        x = np.stack([x & 15, x >> 4], axis=2)
    return x.reshape(len(tiles), TILE_ROWS, length)


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
    z = None if zero is None else _whole_tiles(zero.astype(np.uint8, copy=False), T)
    size = fmt.group_size or K
    whole = K // (size * fmt.block_groups)
    if whole:
        _pack_blocks(x, s, z, fmt, size, out[:, : whole * fmt.block_bytes(K)].reshape(T, whole, -1))
    bounds, offsets = fmt.group_bounds(K), fmt.offsets(K)
    for g in range(whole * fmt.block_groups, len(bounds)):
        (start, end), at = bounds[g], offsets[g]
        vectors = _vectors(x[:, :, start:end], 1, fmt)[:, 0]
        out[:, at.vectors : at.vectors + vectors.shape[-1]] = vectors
        out[:, at.scale : at.scale + 2 * TILE_ROWS] = np.ascontiguousarray(s[:, :, g]).view(np.uint8)
        if z is not None:
            out[:, at.zero : at.zero + TILE_ROWS] = z[:, :, g]


def _pack_blocks(x: Array, s: Array, z: Array | None, fmt: WeightFormat, size: int, out: Array) -> None:
    """Fill `out` uint8[T, blocks, block_bytes] from the first whole blocks of x, s, z `[T, 16, ...]`."""
    T, blocks = out.shape[:2]
    KG = blocks * fmt.block_groups
    code_bytes = fmt.block_groups * fmt.vectors(size) * VECTOR_BYTES
    scale_bytes = fmt.block_groups * 2 * TILE_ROWS
    out[:, :, :code_bytes] = _vectors(x[:, :, : KG * size], KG, fmt).reshape(T, blocks, code_bytes)
    scales = np.ascontiguousarray(s[:, :, :KG].transpose(0, 2, 1)).view(np.uint8)
    out[:, :, code_bytes : code_bytes + scale_bytes] = scales.reshape(T, blocks, scale_bytes)
    if z is not None:
        zeros = np.ascontiguousarray(z[:, :, :KG].transpose(0, 2, 1))
        out[:, :, code_bytes + scale_bytes :] = zeros.reshape(T, blocks, -1)


def _vectors(x: Array, groups: int, fmt: WeightFormat) -> Array:
    """uint8[T, 16, groups * L] -> uint8[T, groups, V * 64]: rows inside k quads, moved as 32-bit words."""
    T = len(x)
    quads = np.ascontiguousarray(x).view(np.uint32)
    if fmt.bits == 8:
        words = quads.reshape(T, TILE_ROWS, groups, -1).transpose(0, 2, 3, 1)
    else:
        halves = quads.reshape(T, TILE_ROWS, groups, 2, -1)
        words = (halves[:, :, :, 0] | halves[:, :, :, 1] << np.uint32(4)).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(words).view(np.uint8).reshape(T, groups, -1)
