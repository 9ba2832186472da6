"""Tokenization in C: tokenizer.json becomes one blob, and tokenizer.h reads it in place.

`SOURCES` are the C files to compile, `INCLUDE` the folder of `tokenizer.h`.
"""

from __future__ import annotations

from pathlib import Path

INCLUDE = Path(__file__).resolve().parent
SOURCES: tuple[Path, ...] = tuple(sorted(INCLUDE.glob("*.c")))


def compile_tokenizer(tokenizer_json: bytes) -> bytes:
    """The blob for `edgeq_tokenizer_open`: little-endian, sections aligned to 64 bytes.

    Raises:
        ModelError: not a tokenizer.json.
        UnsupportedError: a component or pattern that the C does not do exactly; the message names every one.
    """
    from edgeq.tokenizer.compile import compile_json

    return compile_json(tokenizer_json)
