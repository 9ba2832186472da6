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


def write_added(builder: Builder, tokens: dict[int, Any], normalizer: Any, texts: dict[int, str]) -> None:
    """Sections ADDED and ADDED_ORDER.

    tokens: `Tokenizer.get_added_tokens_decoder()`; normalizer: the tokenizer's, or None; texts: what each id of the
    whole vocabulary stands for (an id that was not added but reads like a special token is skipped with it).
    """
    specials = {token.content for token in tokens.values() if token.special}
    ids = sorted(i for i, text in texts.items() if i in tokens or text in specials)
    words = [[i, _flags(tokens.get(i), texts[i], specials), *builder.blob.string(texts[i])] for i in ids]
    keys = {place: (tokens[i].normalized, texts[i].encode()) for place, i in enumerate(ids) if i in tokens}
    if len(set(keys.values())) < len(keys) or any(not text for _, text in keys.values()):
        raise UnsupportedError("tokenizer.json: added tokens that are empty or equal after normalization")
    builder.blob.put(Section.ADDED, words)
    builder.blob.put(Section.ADDED_ORDER, sorted(keys, key=lambda place: keys[place]))
    builder.blob.model[Word.RAW_ORDER] = sum(not normalized for normalized, _ in keys.values())
    _write_masks(builder, list(tokens.values()))


def _flags(token: Any, text: str, specials: set[str]) -> int:
    flags = {SKIPPED: text in specials}
    if token is not None:
        flags |= {SPECIAL: token.content in specials, SINGLE_WORD: token.single_word, LSTRIP: token.lstrip,
                  RSTRIP: token.rstrip}  # fmt: skip
    return sum(flag for flag, on in flags.items() if on)


def _write_masks(builder: Builder, tokens: list[Any]) -> None:
    builder.blob.model[Word.SPACE_MASK] = builder.kinds.add(probe.whitespace())
    if any(token.single_word for token in tokens):
        builder.blob.model[Word.WORD_MASK] = builder.kinds.add(probe.word())
