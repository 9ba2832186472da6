"""Predicates on code points, packed: each code point has a kind (a byte), each predicate is a set of kinds."""

from __future__ import annotations

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.tokenizer.blob import Blob, Section, Word
from edgeq.tokenizer.probe import CODES, Mask

MAX_KINDS = 256


class Kinds:
    """Collects predicates, then writes the table."""

    def __init__(self) -> None:
        self.masks: list[Mask] = []
        self.numbers: dict[bytes, int] = {}

    def add(self, mask: Mask) -> int:
        """Number of the predicate."""
        key = np.packbits(mask).tobytes()
        if key not in self.numbers:
            self.numbers[key] = len(self.masks)
            self.masks.append(mask)
        return self.numbers[key]

    def write(self, blob: Blob) -> None:
        """Sections PAGE_INDEX, PAGES and MASKS.

        Raises:
            UnsupportedError: the patterns tell more than 256 kinds of characters apart.
        """
        kinds, sets = self._kinds()
        if len(sets) > MAX_KINDS:
            raise UnsupportedError(f"tokenizer.json: patterns tell {len(sets)} kinds of characters apart, over 256")
        tables = [_pages(kinds, shift) for shift in range(4, 9)]
        shift, index, pages = min(tables, key=lambda table: table[1].size * 2 + table[2].size)
        bits = np.zeros((max(len(self.masks), 1), MAX_KINDS), dtype=bool)
        for kind, members in enumerate(sets):
            bits[: len(self.masks), kind] = members
        blob.model[Word.BLOCK_SHIFT] = shift
        blob.put(Section.PAGE_INDEX, index, "<u2")
        blob.put(Section.PAGES, pages, "u1")
        blob.sections[Section.MASKS] = np.packbits(bits, axis=1, bitorder="little").tobytes()

    def _kinds(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Kind of each code point, and of each kind the predicates it fulfils."""
        if not self.masks:
            return np.zeros(CODES, dtype=np.uint8), [np.zeros(0, dtype=bool)]
        changes = np.zeros(CODES, dtype=bool)
        changes[0] = True
        for mask in self.masks:
            changes[1:] |= mask[1:] != mask[:-1]
        starts = np.flatnonzero(changes)  # runs of code points that no predicate tells apart
        sets: dict[bytes, int] = {}
        rows = np.stack([mask[starts] for mask in self.masks], axis=1)
        numbers = [sets.setdefault(row.tobytes(), len(sets)) for row in rows]
        kinds = np.repeat(numbers, np.diff(np.append(starts, CODES)))
        return kinds, [np.frombuffer(row, dtype=bool) for row in sets]


def _pages(kinds: np.ndarray, shift: int) -> tuple[int, np.ndarray, np.ndarray]:
    data, size = kinds.astype(np.uint8).tobytes(), 1 << shift
    numbers: dict[bytes, int] = {}
    index = [numbers.setdefault(data[at : at + size], len(numbers)) for at in range(0, CODES, size)]
    return shift, np.array(index), np.frombuffer(b"".join(numbers), dtype=np.uint8)
