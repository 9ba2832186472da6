"""Token texts and their hash table (`vocabulary.c` reads both)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.tokenizer.blob import NONE, Blob, Section, Word

MAX_IDS = 1 << 24
MAX_DEPTH, MAX_BYTES = 32, 1000  # of a token made of tokens of tokens; `expand` allows 40, and 2048 parts
LOAD = 0.8


def byte_alphabet() -> dict[str, int]:
    """The printable character that stands for each byte in byte-level vocabularies (GPT-2's `bytes_to_unicode`)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(plain)]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}


def fnv1a(data: bytes) -> int:
    """32-bit FNV-1a, as `tok_hash`."""
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def write_texts(blob: Blob, texts: Sequence[bytes]) -> None:
    """Texts of all ids, stored as they are."""
    _check_size(len(texts))
    blob.model[Word.VOCAB] = len(texts)
    blob.put(Section.TOKEN_OFFSETS, list(accumulate(map(len, texts), initial=0)))
    blob.sections[Section.TOKEN_BYTES] = b"".join(texts)


def write_merged_texts(blob: Blob, texts: Sequence[bytes], merges: Sequence[tuple[int, int]], first: int) -> bool:
    """Texts of ids `first + rank` as the two sides of a merge, stored anyway; False where that is not exact."""
    stop = first + len(merges)
    if stop > len(texts):
        return False
    depth = np.zeros(len(texts), dtype=np.int64)
    for rank, (left, right) in enumerate(merges):
        token = first + rank
        depth[token] = 1 + max(depth[left], depth[right])
        if any(token <= side < stop for side in (left, right)) or depth[token] > MAX_DEPTH:
            return False
        if texts[left] + texts[right] != texts[token] or len(texts[token]) > MAX_BYTES:
            return False
    stored = [i for i in range(len(texts)) if not first <= i < stop]
    if not stored:
        return False
    write_texts(blob, [texts[i] for i in stored])
    blob.model[Word.VOCAB], blob.model[Word.FIRST_MERGED] = len(texts), first
    blob.put(Section.LITERALS, stored)
    return True


def write_index(blob: Blob, ids: Mapping[bytes, int]) -> None:
    """The hash table that finds these texts, and how long a text beginning with some byte can be."""
    longest = np.zeros(256, dtype=np.uint8)
    slots = np.full(max(1, int(len(ids) / LOAD) + 1) if ids else 0, NONE, dtype=np.uint32)
    for text, token in ids.items():
        if not text:
            continue
        value = fnv1a(text)
        longest[text[0]] = max(int(longest[text[0]]), min(len(text), 255))
        _insert(slots, value, (value & 0xFF) << 24 | token)
    blob.put(Section.VOCAB_SLOTS, slots)
    blob.put(Section.LONGEST, longest, "u1")


def write_bytes(blob: Blob, ids: Sequence[int | None], section: Section = Section.BYTES) -> None:
    """Ids of the 256 bytes."""
    blob.put(section, [NONE if token is None else token for token in ids])


def fallback_bytes(vocab: Mapping[str, int]) -> list[int | None]:
    """Ids of <0x00> ... <0xFF>."""
    return [vocab.get(f"<0x{byte:02X}>") for byte in range(256)]


def _insert(slots: np.ndarray, value: int, item: int) -> None:
    at = value * len(slots) >> 32
    while slots[at] != NONE:
        at = (at + 1) % len(slots)
    slots[at] = item


def _check_size(count: int) -> None:
    if count >= MAX_IDS:
        raise UnsupportedError(f"tokenizer.json: ids up to {count}; edgeq's tokenizer holds {MAX_IDS - 1}")
