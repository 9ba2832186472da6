"""PNG files of every kind that the format knows, also those that Pillow does not write."""

from __future__ import annotations

import struct
import zlib

import numpy as np

PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _packed(row: np.ndarray, bits: int) -> bytes:
    """Samples u16[n] as the bytes of a row."""
    if bits == 16:
        return row.astype(">u2").tobytes()
    spread = np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - bits :]
    return np.packbits(spread.ravel()).tobytes()


def _predict(kind: int, left: int, up: int, corner: int) -> int:
    if kind == 4:
        guess = left + up - corner
        return min((left, up, corner), key=lambda v: abs(guess - v))
    return (0, left, up, (left + up) // 2)[kind]


def _filtered(row: bytes, above: bytes, kind: int, step: int) -> bytes:
    """A row behind the number of its filter, as ISO 15948 section 9 has it."""
    out = bytearray([kind])
    for i, value in enumerate(row):
        left, corner = (row[i - step], above[i - step]) if i >= step else (0, 0)
        out.append((value - _predict(kind, left, above[i], corner)) & 255)
    return bytes(out)


def _rows(samples: np.ndarray, bits: int, rng: np.random.Generator) -> bytes:
    """u16[H, W, S] with a filter drawn for each row."""
    found, above = b"", b""
    for row in samples:
        packed = _packed(row.ravel(), bits)
        step = max(1, samples.shape[2] * bits // 8)
        found += _filtered(packed, above or bytes(len(packed)), int(rng.integers(5)), step)
        above = packed
    return found


def write(
    samples: np.ndarray, bits: int, colour: int, *, interlaced: bool = False, level: int = 6, before: bytes = b""
) -> bytes:
    """A file of u16[H, W, samples a pixel]; `before`: chunks between header and data (PLTE, tRNS, eXIf)."""
    rng = np.random.default_rng(0)
    height, width = samples.shape[:2]
    parts = [samples[y::dy, x::dx] for x, y, dx, dy in PASSES] if interlaced else [samples]
    raw = b"".join(_rows(part, bits, rng) for part in parts if part.size)
    packed = zlib.compress(raw, level)
    cut = len(packed) // 3
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, int(interlaced))
    data = chunk(b"IDAT", packed[:cut]) + chunk(b"IDAT", packed[cut:])
    return SIGNATURE + chunk(b"IHDR", header) + before + data + chunk(b"IEND", b"")
