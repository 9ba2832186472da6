"""The blob that `tok.h` describes: a header and aligned little-endian sections."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

MAGIC, VERSION, ALIGN = b"EQTOKEN\0", 1, 64
NONE = 0xFFFFFFFF


class Section(IntEnum):
    """Order of the sections, as `tok_section_id`."""

    MODEL = 0
    PAGE_INDEX = 1
    PAGES = 2
    MASKS = 3
    NORMALIZERS = 4
    SPLITTERS = 5
    DECODERS = 6
    TEMPLATE = 7
    REGEX = 8
    STRINGS = 9
    TOKEN_OFFSETS = 10
    TOKEN_BYTES = 11
    LITERALS = 12
    MERGES = 13
    MERGE_IDS = 14
    MERGE_SLOTS = 15
    VOCAB_SLOTS = 16
    LONGEST = 17
    BYTES = 18
    LAST_BYTES = 19
    SCORES = 20
    ADDED = 21
    ADDED_ORDER = 22
    MAPS = 23
    CCC = 24
    COMPOSE = 25
    CHARSMAP = 26


class Word(IntEnum):
    """Words of the model's section, as in `tok.h`."""

    KIND = 0
    VOCAB = 1
    UNK = 2
    FLAGS = 3
    MAX_CHARS = 4
    PREFIX = 5
    PREFIX_BYTES = 6
    SUFFIX = 7
    SUFFIX_BYTES = 8
    FIRST_MERGED = 9
    BLOCK_SHIFT = 10
    FRONT = 11
    RAW_ORDER = 12
    WIDE_IDS = 13
    WIDE_RANKS = 14
    SPACE_MASK = 15
    WORD_MASK = 16


@dataclass
class Blob:
    """Sections as they are filled, and the pool of texts that operations point into."""

    sections: dict[Section, bytes] = field(default_factory=dict)
    model: dict[Word, int] = field(default_factory=dict)
    strings: bytearray = field(default_factory=bytearray)
    seen: dict[bytes, int] = field(default_factory=dict)

    def string(self, text: str | bytes) -> tuple[int, int]:
        """Offset and bytes of a text in the pool."""
        data = text.encode() if isinstance(text, str) else text
        if data not in self.seen:
            self.seen[data] = len(self.strings)
            self.strings += data
        return self.seen[data], len(data)

    def put(self, section: Section, values: object, dtype: str = "<u4") -> None:
        """A section of numbers."""
        self.sections[section] = np.asarray(values, dtype=dtype).tobytes()

    def build(self) -> bytes:
        """The finished blob."""
        words = [self.model.get(word, 0) for word in Word]
        sections = self.sections | {Section.MODEL: struct.pack(f"<{len(words)}I", *words)}
        sections[Section.STRINGS] = bytes(self.strings)
        header = 24 + 8 * len(Section)
        table, body = b"", bytearray(-header % ALIGN)
        for section in Section:
            data = sections.get(section, b"")
            table += struct.pack("<II", header + len(body), len(data))
            body += data + bytes(-len(data) % ALIGN)
        return struct.pack("<8sIIQ", MAGIC, VERSION, len(Section), header + len(body)) + table + bytes(body)
