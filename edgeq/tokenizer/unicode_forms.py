"""Canonical combining classes and compositions, as the installed `tokenizers` has them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from edgeq.errors import ToolchainError
from edgeq.tokenizer.probe import mapping, probed

LOWEST, HIGHEST = "\u0334", "\u0345"  # classes 1 and 240, the smallest and the largest
HANGUL = range(0xAC00, 0xD7A4)


@lru_cache(maxsize=2)
def decompositions(compatible: bool) -> dict[int, str]:
    """Code point -> its decomposition, without Hangul syllables (they are computed)."""
    from tokenizers import normalizers

    found = mapping(normalizers.NFKD() if compatible else normalizers.NFD())
    return {code: text for code, text in found.items() if code not in HANGUL}


@lru_cache(maxsize=1)
def combining_classes() -> dict[int, int]:
    """Code point -> combining class, where it is not 0.

    Python's value, for the marks that `tokenizers` moves past others; for one that Python does not know, the class of a
    mark that it never changes places with.
    """
    skipped = {0x0A, *decompositions(False), *HANGUL}
    plain = [code for code in probed().tolist() if code not in skipped]
    moved = _moved((chr(c) + LOWEST, c) for c in plain) | _moved((HIGHEST + chr(c), c) for c in plain)
    marks = sorted(moved | {ord(LOWEST), ord(HIGHEST)})
    known = {code: unicodedata.combining(chr(code)) for code in marks}
    examples = {value: code for code, value in known.items() if value}
    return {code: value or _class_like(code, examples) for code, value in known.items()}


def _class_like(code: int, examples: dict[int, int]) -> int:
    for value, other in examples.items():
        if not _moved([(chr(code) + chr(other), 0), (chr(other) + chr(code), 0)]):
            return value
    raise ToolchainError(f"tokenizers gives U+{code:04X} a combining class that no known mark has")


def _moved(pairs: Iterable[tuple[str, int]]) -> set[int]:
    """Codes whose pair of marks changes order under NFD."""
    from tokenizers import normalizers

    listed = list(pairs)
    lines = normalizers.NFD().normalize_str("\n".join("a" + text for text, _ in listed)).split("\n")
    moves = [(text, code, line[1:]) for (text, code), line in zip(listed, lines, strict=True)]
    return {code for text, code, line in moves if line == text[::-1] != text}


@lru_cache(maxsize=1)
def compositions() -> list[tuple[int, int, int]]:
    """(first, second, composite), ascending, without Hangul syllables."""
    from tokenizers import normalizers

    compose = normalizers.NFC().normalize_str
    found = []
    for code, text in decompositions(False).items():
        if len(text) < 2 or compose(text) != chr(code):
            continue
        first = compose(text[:-1])
        if len(first) != 1 or compose(first + text[-1]) != chr(code):
            raise ToolchainError(f"tokenizers composes U+{code:04X} in a way that is not first and second")
        found.append((ord(first), ord(text[-1]), code))
    return sorted(found)
