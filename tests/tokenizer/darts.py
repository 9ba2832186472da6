"""sentencepiece's precompiled_charsmap from a table of replacements: a double-array trie and its texts."""

from __future__ import annotations

import base64
import json
import struct
import unicodedata
from typing import Any

Trie = dict[int, Any]  # byte -> Trie; VALUE -> offset
VALUE = -1


def precompiled(table: dict[str, str]) -> Any:
    """The normalizer `Precompiled` of `tokenizers` for this table."""
    from tokenizers import normalizers

    state = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap(table)).decode()}
    normalizer = normalizers.NFC()
    normalizer.__setstate__(json.dumps(state).encode())
    return normalizer


def charsmap(table: dict[str, str]) -> bytes:
    """u32 bytes of the trie, the trie, the texts, each ended by a zero byte."""
    texts, trie = bytearray(), Trie()
    for key, text in table.items():
        node = trie
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[VALUE] = len(texts)
        texts += text.encode() + b"\0"
    units = _units(trie)
    return struct.pack("<I", 4 * len(units)) + struct.pack(f"<{len(units)}I", *units) + bytes(texts)


def nfkc_table() -> dict[str, str]:
    """Much as sentencepiece's nmt_nfkc: compatibility forms, composed marks, spaces; most control characters vanish."""
    singles = [
        *range(0xA0, 0x250),
        *range(0x1E00, 0x2000),
        *range(0x2100, 0x2190),
        *range(0x2460, 0x24FF),
        *range(0x3300, 0x3400),
        *range(0xF900, 0xFA20),
        *range(0xFB00, 0xFB10),
        *range(0xFF00, 0xFFF0),
        0x1D400,
        0x1F100,
    ]
    table = {chr(code): unicodedata.normalize("NFKC", chr(code)) for code in singles}
    table |= {unicodedata.normalize("NFD", chr(code)): chr(code) for code in range(0xC0, 0x180)}
    table |= {space: " " for space in "\t\n\r\x85\u2000\u2003\u2009\u2028\u3000\ufeff"}
    table |= {chr(code): "" for code in (1, 2, 0x1C, 0x7F, 0x200B, 0xAD)}
    return {key: text for key, text in table.items() if key != text}


def _units(trie: Trie) -> list[int]:
    units, taken = [0], {0}
    work = [(trie, 0)]
    start = 1
    while work:
        node, at = work.pop()
        base = start
        while any(base ^ max(byte, 0) in taken for byte in node) or base in taken:
            base += 1
        start = max(start, base - 64)
        units += [0] * (max(base | 0xFF, at) + 1 - len(units))
        taken.add(base)
        units[at] |= (at ^ base) << 10 | (VALUE in node) << 8
        for byte, child in node.items():
            taken.add(base ^ max(byte, 0))
            if byte == VALUE:
                units[base] = child | 1 << 31
            else:
                units[base ^ byte] = byte
                work.append((child, base ^ byte))
    return units
