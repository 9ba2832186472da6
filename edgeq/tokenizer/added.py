"""Added tokens: their ids, flags and the texts they are matched by."""

from __future__ import annotations

from typing import Any

from edgeq.errors import UnsupportedError
from edgeq.tokenizer import probe
from edgeq.tokenizer.blob import Section, Word
from edgeq.tokenizer.program import Builder

SPECIAL, SINGLE_WORD, LSTRIP, RSTRIP, SKIPPED = 1, 2, 4, 8, 16


def matched_text(token: Any, normalizer: Any) -> str:
    """What an added token looks like in the text where it is searched, and when it is decoded."""
    return str(normalizer.normalize_str(token.content)) if token.normalized and normalizer else str(token.content)


def write_added(builder: Builder, tokens: dict[int, Any], normalizer: Any) -> None:
    """Sections ADDED and ADDED_ORDER.

    tokens: `Tokenizer.get_added_tokens_decoder()`; normalizer: the tokenizer's, or None.
    """
    specials = {token.content for token in tokens.values() if token.special}
    words: list[int] = []
    texts: list[tuple[bool, bytes]] = []
    for number, token in sorted(tokens.items()):
        text = matched_text(token, normalizer)
        texts.append((token.normalized, text.encode()))
        words += [number, _flags(token, text, specials), *builder.blob.string(text)]
    if len(set(texts)) < len(texts) or any(not text for _, text in texts):
        raise UnsupportedError("tokenizer.json: added tokens that are empty or equal after normalization")
    builder.blob.put(Section.ADDED, words)
    builder.blob.put(Section.ADDED_ORDER, sorted(range(len(texts)), key=lambda i: texts[i]))
    builder.blob.model[Word.RAW_ORDER] = sum(not normalized for normalized, _ in texts)
    _write_masks(builder, list(tokens.values()))


def _flags(token: Any, text: str, specials: set[str]) -> int:
    flags = {SPECIAL: token.content in specials, SINGLE_WORD: token.single_word, LSTRIP: token.lstrip,
             RSTRIP: token.rstrip, SKIPPED: text in specials}
    return sum(flag for flag, on in flags.items() if on)


def _write_masks(builder: Builder, tokens: list[Any]) -> None:
    builder.blob.model[Word.SPACE_MASK] = builder.kinds.add(probe.whitespace())
    if any(token.single_word for token in tokens):
        builder.blob.model[Word.WORD_MASK] = builder.kinds.add(probe.word())
