from __future__ import annotations

import pytest

from edgeq.evaluate.text import begin_token, text_tokens


def encoder(before: list[int], after: list[int]):
    def encode(text: str, special: bool) -> list[int]:
        ids = [ord(c) for c in text]
        return before + ids + after if special else ids

    return encode


@pytest.mark.parametrize(("before", "after", "first"), [([1], [], 1), ([], [], None), ([], [2], None), ([1], [2], 1)])
def test_only_what_the_tokenizer_puts_first_counts(before: list[int], after: list[int], first: int | None) -> None:
    encode = encoder(before, after)
    assert begin_token(encode) == first
    assert text_tokens(encode, "abc") == ([*before, 97, 98, 99], first)
