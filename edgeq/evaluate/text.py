"""A text's tokens as llama-perplexity takes them: with the token that the tokenizer itself puts first, if it does."""

from __future__ import annotations

from collections.abc import Callable

Encode = Callable[[str, bool], list[int]]
"""(text, whether to add what the tokenizer puts around a text) -> ids."""


def text_tokens(encode: Encode, text: str) -> tuple[list[int], int | None]:
    """(tokens of the whole text, its begin token included; that begin token, or None).

    A begin token that the model merely knows, for chats, does not count: SmolLM2 has `<|im_start|>` as its BOS, but
    neither transformers nor llama.cpp puts it before a plain text, and scores differ (17.02 with it, 17.00 without).
    """
    first = begin_token(encode)
    return ([] if first is None else [first]) + encode(text, False), first


def begin_token(encode: Encode) -> int | None:
    """The token that the tokenizer puts before every text, None when it puts none."""
    plain, whole = encode("a", False), encode("a", True)
    return whole[0] if len(whole) > len(plain) and whole[0] != plain[0] else None
