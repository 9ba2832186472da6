"""What the installed `tokenizers` makes of every code point.

Its Rust and Oniguruma tables follow other Unicode versions than Python's `unicodedata`, so they are asked, not assumed:
one call over a text of all code points. Planes 4 to 13 are unassigned, 15 and 16 private: a sample stands for them.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

CODES = 0x110000
Mask = np.ndarray  # bool[CODES]
_SPARSE = ((0x40000, 0xE0000), (0xE1000, 0xF0000), (0xF0000, CODES))  # one sample stands for each


@lru_cache(maxsize=1)
def probed() -> np.ndarray:
    """int64: the code points that are asked, ascending."""
    dense = [*range(0xD800), *range(0xE000, 0x40000), *range(0xE0000, 0xE1000)]
    ends = [plane * 0x10000 + last for plane in range(4, 17) for last in (0xFFFE, 0xFFFF)]
    chosen = np.zeros(CODES, dtype=bool)
    chosen[[*dense, *(start for start, _ in _SPARSE), *ends]] = True
    return np.flatnonzero(chosen)


@lru_cache(maxsize=1)
def _probed_text() -> str:
    return "".join(map(chr, probed()))


def spread(chosen: np.ndarray) -> Mask:
    """bool[CODES] from the chosen of `probed()`, samples widened to what they stand for."""
    mask = np.zeros(CODES, dtype=bool)
    mask[chosen] = True
    ends = mask.copy()
    for start, stop in _SPARSE:
        mask[start:stop] = mask[start]
    for end in range(0x50000, CODES + 1, 0x10000):
        mask[end - 2 : end] = ends[end - 2 : end]
    return mask


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4").astype(np.int64)


def removed_by(normalizer: Any) -> Mask:
    """Code points that a normalizer deletes (it must leave the others alone)."""
    kept = np.zeros(CODES, dtype=bool)
    kept[_codes(normalizer.normalize_str(_probed_text()))] = True
    return spread(probed()[~kept[probed()]])


@lru_cache(maxsize=64)
def regex_class(pattern: str) -> Mask:
    """Code points that a pattern for one character matches in Oniguruma."""
    from tokenizers import Regex, normalizers

    return removed_by(normalizers.Replace(Regex(pattern), ""))


def mapping(normalizer: Any, between: str = "\n") -> dict[int, str]:
    """Code point -> text, for those that the normalizer changes when they stand alone."""
    codes = probed()
    codes = codes[codes != ord(between)]
    lines = normalizer.normalize_str(between.join(map(chr, codes))).split(between)
    return {int(code): line for code, line in zip(codes, lines, strict=True) if line != chr(code)}


def isolated_by(pre_tokenizer: Any) -> Mask:
    """Code points that a pre-tokenizer cuts off from a letter before and after them."""
    text = "a" + "a".join(map(chr, probed())) + "a"
    chosen = [start for piece, (start, end) in pre_tokenizer.pre_tokenize_str(text) if end - start == 1 and start % 2]
    return spread(probed()[np.array(chosen, dtype=np.int64) // 2])


@lru_cache(maxsize=1)
def whitespace() -> Mask:
    """Rust's `char::is_whitespace`, which its regex `\\s` is too."""
    from tokenizers import pre_tokenizers

    text = "a" + "a".join(map(chr, probed())) + "a"
    pieces = pre_tokenizers.WhitespaceSplit().pre_tokenize_str(text)
    gaps = [before[1][1] for before, after in pairwise(pieces) if before[1][1] < after[1][0]]
    return spread(probed()[np.array(gaps, dtype=np.int64) // 2])


@lru_cache(maxsize=1)
def word() -> Mask:
    """`\\w` of Rust's regex."""
    from tokenizers import pre_tokenizers

    return ~(isolated_by(pre_tokenizers.Whitespace()) | whitespace())
