"""2:4 sparse weights: of every 4 consecutive k of a row at most two are kept, as a code and 2 bits of place each.

A *field* is 64 bytes: 16 rows x 4 kept codes, those of 8 consecutive k (two of each quad, in order of k). A *step* is
4 fields, 32 k (2 fields where a group ends in 16 k):

    64 bytes of places | the fields' codes

Bits `2f, 2f + 1` of a byte of places are where, in its quad, the code of the same byte of field `f` stands. Codes are
signed, two's complement; at 8 bits a vector is a field, at 4 bits low nibbles are the first half of the fields, high
nibbles the second. So 32 k of 16 rows take 320 bytes at 8 bits (5 bits a weight), 192 at 4 bits (3 bits a weight).
A quad with fewer than two weights that are not 0 keeps zeros. Everywhere else codes are those of `w8` and `w4`: dense,
unsigned, the middle one 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import UsageError

Array = NDArray[Any]
STEP = 32  # k
FIELD = 8  # k
VECTOR = 64  # bytes
ROWS = 16


def _places() -> NDArray[np.uint8]:
    """Mask of the weights of a quad that are not 0 (bit j: the j-th) -> the two places kept, in order: uint8[16, 2].

    Of a quad of zeros the first place, twice: its bytes are zeros.
    """
    found = np.zeros((16, 2), np.uint8)
    for mask in range(1, 16):
        found[mask] = sorted(sorted(range(4), key=lambda j: not mask >> j & 1)[:2])
    return found


_PLACES = _places()
_MANY = np.array([mask.bit_count() > 2 for mask in range(16)])


def vectors(bits: int, length: int) -> int:
    """64-byte vectors of a group of `length` weights (16 rows): places and codes."""
    return -(-length // STEP) + length // FIELD * bits // 8


def crowded(codes: Array, zero: int) -> int:
    """How many quads of codes uint8[..., K] hold more than two that are not `zero`."""
    return int(_MANY[_masks(codes.reshape(*codes.shape[:-1], -1, 4), zero)].sum())


def check(codes: Array, zero: int, text: str, name: str) -> None:
    """Raise UsageError unless codes uint8[N, K] are 2:4; `text`: the format, `name`: what to call the weight."""
    bad, quads = crowded(codes, zero), codes.size // 4  # a quad of which two round to 0 is sparse enough
    if bad:
        found = f"{bad} of {quads} quads hold more: prune it first (--pass jsq)"
        raise UsageError(f"{name}: {text} keeps two of four consecutive weights, but {found}")


def without_padding(codes: Array, scale: Array, zero: int) -> Array:
    """Codes uint8[T, 16, K] with rows that only fill up a tile (code 0, scale 0) set to `zero`, which stores as 0."""
    padding: Array = np.logical_not(codes.any(-1) | scale.any(-1))
    return np.where(padding[..., None], np.uint8(zero), codes) if padding.any() else codes


def pack_groups(codes: Array, groups: int, bits: int) -> NDArray[np.uint8]:
    """Codes uint8[T, 16, groups * L] -> uint8[T, groups, V * 64]; UsageError unless they are 2:4."""
    zero = 1 << (bits - 1)
    check(codes, zero, f"s{bits}", "weight")
    T, L = len(codes), codes.shape[2] // groups
    quads = codes.reshape(T, ROWS, groups, L // 4, 4)
    places = _PLACES[_masks(quads, zero)]
    kept = np.take_along_axis(quads, places, axis=-1) - np.uint8(zero)
    parts = [_steps(_fields(places, a, b), _fields(kept, a, b), bits) for a, b in _runs(L)]
    return np.concatenate(parts, axis=2)


def unpack_group(stored: Array, length: int, bits: int) -> NDArray[np.uint8]:
    """uint8[T, V * 64] of one group -> codes uint8[T, 16, length]; inverse of `pack_groups`."""
    T, at, found = len(stored), 0, []
    for first, last in _runs(length):
        n, steps = _shape(first, last)
        end = at + steps * (1 + n * bits // 8) * VECTOR
        found.append(_dense(stored[:, at:end].reshape(T, steps, -1, VECTOR), n, bits))
        at = end
    return np.concatenate(found, axis=2)


def _masks(quads: Array, zero: int) -> Array:
    """uint8[..., 4] -> uint8[...]: bit j where the j-th code is not `zero`."""
    return ((quads != zero) << np.arange(4, dtype=np.uint8)).sum(-1, dtype=np.uint8)


def _runs(length: int) -> list[tuple[int, int]]:
    """[first, last) in fields of the whole steps of a group, and of the shorter one that may follow."""
    whole, all_ = length // STEP * (STEP // FIELD), length // FIELD
    return [run for run in ((0, whole), (whole, all_)) if run[0] < run[1]]


def _shape(first: int, last: int) -> tuple[int, int]:
    """(fields of a step, steps) of a run."""
    n = min(STEP // FIELD, last - first)
    return n, (last - first) // n


def _fields(x: Array, first: int, last: int) -> Array:
    """[T, 16, groups, quads, 2] -> fields `first .. last` as [T, groups, steps, fields of a step, 64]."""
    T, groups = len(x), x.shape[2]
    n, steps = _shape(first, last)
    some = x[:, :, :, 2 * first : 2 * last].reshape(T, ROWS, groups, steps, n, 4)
    return np.ascontiguousarray(some.transpose(0, 2, 3, 4, 1, 5)).reshape(T, groups, steps, n, VECTOR)


def _steps(places: Array, kept: Array, bits: int) -> Array:
    """Fields [T, groups, steps, n, 64] -> bytes [T, groups, steps * (1 + n * bits / 8) * 64]."""
    T, groups, _, n, _ = kept.shape
    shifts = 2 * np.arange(n, dtype=np.uint8)[:, None]
    index = np.bitwise_or.reduce(places << shifts, axis=3, keepdims=True)
    if bits == 4:
        kept = (kept[:, :, :, : n // 2] & 15) | (kept[:, :, :, n // 2 :] << 4)
    return np.concatenate([index, kept], axis=3).reshape(T, groups, -1)


def _dense(stored: Array, n: int, bits: int) -> Array:
    """Steps [T, steps, 1 + n * bits / 8, 64] of n fields each -> codes [T, 16, steps * n * 8]."""
    T, steps = stored.shape[:2]
    shifts = 2 * np.arange(n, dtype=np.uint8)[:, None]
    places, kept, zero = (stored[:, :, :1] >> shifts) & 3, stored[:, :, 1:], np.uint8(1 << (bits - 1))
    if bits == 4:
        kept = np.concatenate([kept & 15, kept >> 4], axis=2)
    quads = np.full((T, steps, n, ROWS, 2, 4), zero, np.uint8)
    shape = (T, steps, n, ROWS, 2, 2)
    values = (kept + zero) & np.uint8((1 << bits) - 1)
    np.put_along_axis(quads, places.reshape(shape).astype(np.int64), values.reshape(shape), axis=-1)
    return quads.reshape(T, steps * n, ROWS, FIELD).transpose(0, 2, 1, 3).reshape(T, ROWS, -1)
