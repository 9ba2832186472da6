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
        rows = np.packbits(np.stack(self.masks, axis=1), axis=1)
        keys = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.shape[1]))).ravel()
        unique, kinds = np.unique(keys, return_inverse=True)
        bits = np.unpackbits(unique.view(np.uint8).reshape(len(unique), -1), axis=1)[:, : len(self.masks)]
        return kinds, list(bits.astype(bool))


def _pages(kinds: np.ndarray, shift: int) -> tuple[int, np.ndarray, np.ndarray]:
    blocks = kinds.astype(np.uint8).reshape(-1, 1 << shift)
    pages, index = np.unique(blocks, axis=0, return_inverse=True)
    return shift, index.ravel(), pages
