"""JPEG files of random coefficients, with any sampling factors: what Pillow cannot be asked to write."""

from __future__ import annotations

import struct

import numpy as np

Factors = tuple[tuple[int, int], ...]
IDS = "\1\2\3\4"  # of components, a character each
VALUES = [run << 4 | size for run in range(16) for size in range(11) if size or run in (0, 15)]


class Bits:
    """Entropy-coded bits, 0xff stuffed."""

    def __init__(self) -> None:
        self._text: list[str] = []

    def put(self, value: int, count: int) -> None:
        self._text.append(format(value, f"0{count}b") if count else "")

    def put_number(self, value: int) -> None:
        """A coefficient's own bits, behind the code of their count."""
        size = abs(value).bit_length()
        self.put(value if value >= 0 else value + (1 << size) - 1, size)

    def take(self) -> bytes:
        text = "".join(self._text)
        self._text = []
        text += "1" * (-len(text) % 8)
        return int(text or "1", 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def _block(bits: Bits, rng: np.random.Generator, before: int) -> int:
    """A random block: codes of 4 bits for DC sizes, of 8 for AC symbols; gives its DC."""
    dc = int(np.clip(before + rng.integers(-200, 201), -900, 900))
    size = abs(dc - before).bit_length()
    bits.put(size, 4)
    bits.put_number(dc - before)
    place = 1
    while (run := int(rng.integers(0, 20))) + place < 64:
        value = int(rng.integers(-90, 91)) >> int(rng.integers(0, 6)) or 1
        while run > 15:
            bits.put(VALUES.index(0xF0), 8)
            run, place = run - 16, place + 16
        bits.put(VALUES.index(run << 4 | abs(value).bit_length()), 8)
        bits.put_number(value)
        place += run + 1
    if place < 64:
        bits.put(VALUES.index(0), 8)
    return dc


def _scan(rng: np.random.Generator, mcus: int, factors: Factors, restart: int) -> bytes:
    bits, found, before = Bits(), b"", [0] * len(factors)
    for n in range(mcus):
        if restart and n and n % restart == 0:
            found += bits.take() + bytes([0xFF, 0xD0 + (n // restart - 1) % 8])
            before = [0] * len(factors)
        for i, (h, v) in enumerate(factors):
            for _ in range(h * v):
                before[i] = _block(bits, rng, before[i])
    return found + bits.take()


def write(
    width: int, height: int, factors: Factors, *, ids: str = IDS, restart: int = 0, extra: bytes = b"", seed: int = 0
) -> bytes:
    """A baseline file; factors: horizontal and vertical sampling of each component. `extra`: segments (JFIF, Adobe)."""
    rng = np.random.default_rng(seed)
    most_h, most_v = max(h for h, _ in factors), max(v for _, v in factors)
    across, down = -(-width // (8 * most_h)), -(-height // (8 * most_v))
    if len(factors) == 1:
        across, down = -(-width // 8), -(-height // 8)
    steps = bytes(int(v) for v in rng.integers(1, 9, 64))
    parts = b"".join(bytes([ord(ids[i]), h << 4 | v, 0]) for i, (h, v) in enumerate(factors))
    frame = struct.pack(">BHHB", 8, height, width, len(factors)) + parts
    tables = bytes([0x00, 0, 0, 0, 12, *[0] * 12, *range(12), 0x10, *[0] * 7, len(VALUES), *[0] * 8, *VALUES])
    header = bytes([len(factors)]) + b"".join(bytes([ord(ids[i]), 0]) for i in range(len(factors))) + bytes([0, 63, 0])
    units = [(1, 1)] if len(factors) == 1 else factors
    return b"".join([
        b"\xff\xd8", extra, _segment(0xDB, b"\0" + steps), _segment(0xC0, frame), _segment(0xC4, tables),
        _segment(0xDD, struct.pack(">H", restart)) if restart else b"", _segment(0xDA, header),
        _scan(rng, across * down, tuple(units), restart), b"\xff\xd9",
    ])  # fmt: skip
