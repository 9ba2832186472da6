"""Facts: nested values become keys and texts that C reads in place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.errors import UnsupportedError
from edgeq.package.facts import encode, flatten

WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


def test_lists_and_dictionaries_are_flattened() -> None:
    facts = {"kind": "x", "labels": ["cat", "dog"], "image": {"crop": None, "full": True, "mean": (0.485, 1 / 255)}}
    assert dict(flatten(facts)) == {
        "kind": "x", "labels": "2", "labels.0": "cat", "labels.1": "dog", "image": "3", "image.full": "1",
        "image.mean": "2", "image.mean.0": "0.485", "image.mean.1": "0.00392156862745098",
    }  # fmt: skip


@given(st.dictionaries(st.from_regex("[a-z]{1,6}", fullmatch=True), WORDS, max_size=6))
def test_encoded_facts_read_back(facts: dict[str, str]) -> None:
    parts = encode(facts).decode().split("\0")
    assert parts[-2:] == ["", ""]  # an empty key ends them
    assert dict(zip(parts[:-2:2], parts[1:-2:2], strict=True)) == facts


def test_a_zero_byte_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="zero byte"):
        encode({"label": "a\0b"})
