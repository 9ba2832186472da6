"""The codes of a group <-> its 64-byte vectors: rows inside quads, fields of several quads in a byte."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.quant.format import TILE_ROWS, VECTOR_BYTES, WeightFormat
from edgeq.quant.kinds import TRIT
from edgeq.quant.layout import TRITS, Field, Piece
from edgeq.quant.sparse import pack_groups, unpack_group

Array = NDArray[Any]
_WEIGHTS = 3 ** np.arange(TRITS - 1, -1, -1)  # of the digits in a byte, the first to come out weighs most
_DIGITS = 3**TRITS


def group_vectors(codes: Array, groups: int, fmt: WeightFormat) -> NDArray[np.uint8]:
    """uint8[T, 16, groups * L] -> uint8[T, groups, V * 64]; UsageError: a sparse format, codes that are not 2:4."""
    if fmt.meaning.sparse:
        return pack_groups(codes, groups, fmt.bits)
    T, length = len(codes), codes.shape[2] // groups
    quads = np.ascontiguousarray(codes).reshape(T, TILE_ROWS, groups, length // 4, 4)
    rows_inside = np.ascontiguousarray(quads.transpose(0, 2, 3, 1, 4)).reshape(T, groups, length // 4, VECTOR_BYTES)
    if fmt.planes == (8,):
        return rows_inside.reshape(T, groups, -1)
    out = np.zeros((T, groups, fmt.vectors(length), VECTOR_BYTES), np.uint8)
    for piece in fmt.pieces(length):
        _put(piece, rows_inside, out)
    return out.reshape(T, groups, -1)


def group_codes(stored: Array, length: int, fmt: WeightFormat) -> NDArray[np.uint8]:
    """uint8[T, V * 64] of one group -> its codes uint8[T, 16, length]."""
    if fmt.meaning.sparse:
        return unpack_group(stored, length, fmt.bits)
    T = len(stored)
    vectors = stored.reshape(T, -1, VECTOR_BYTES)
    quads = np.empty((T, length // 4, VECTOR_BYTES), np.uint8)
    for piece in fmt.pieces(length):
        for number, fields in piece.quads:
            values = [_get(f, vectors[:, piece.reads[f.read] :][:, : piece.steps]) for f in fields]
            quads[:, number : number + piece.steps] = np.bitwise_or.reduce(values)
    return quads.reshape(T, -1, TILE_ROWS, 4).transpose(0, 2, 1, 3).reshape(T, TILE_ROWS, length)


def _put(piece: Piece, quads: Array, out: Array) -> None:
    """Fill the vectors of a piece, `[T, groups, V, 64]`, from its quads `[T, groups, Q, 64]`."""
    digits: dict[int, Array] = {}
    for first, fields in piece.quads:
        some = quads[:, :, first : first + piece.steps]
        for f in fields:
            at = piece.reads[f.read]
            if f.width == TRIT:
                digits[at] = digits.get(at, np.uint16(0)) + some.astype(np.uint16) * np.uint16(_WEIGHTS[f.index])
            else:
                value = some >> np.uint8(f.place) & np.uint8((1 << f.width) - 1)
                out[:, :, at : at + piece.steps] |= value << np.uint8(f.index * f.width)
    for at, number in digits.items():
        out[:, :, at : at + piece.steps] = (number.astype(np.uint32) * 256 + (_DIGITS - 1)) // _DIGITS  # rounded up


def _get(f: Field, stored: Array) -> Array:
    """Of bytes, the part of a code that field f holds, in its place."""
    if f.width != TRIT:
        return (stored >> np.uint8(f.index * f.width) & np.uint8((1 << f.width) - 1)) << np.uint8(f.place)
    rest = stored.astype(np.uint16)
    for _ in range(f.index):
        rest = rest * np.uint16(3) & np.uint16(255)
    return (rest * np.uint16(3) >> np.uint16(8)).astype(np.uint8)
