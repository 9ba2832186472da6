"""Tokenizers of every kind: two real ones, and small ones trained on the corpus with the settings found in the wild."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from darts import nfkc_table, precompiled
from tokenizer_corpus import lines
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from edgeq.frontend.demo import demo_path
from edgeq.frontend.gguf_file import GgufFile
from edgeq.frontend.tokenizer_gguf import LLAMA3_SPLIT, QWEN2_SPLIT, build_tokenizer

CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)
O200K = "|".join(
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    )
)
DEEPSEEK = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
CLIP = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
ALPHABET = pre_tokenizers.ByteLevel.alphabet()
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


@lru_cache(maxsize=1)
def training_lines() -> list[str]:
    return list(lines(1500, seed=1))


def _byte_level(
    *splits: Any,
    add_prefix_space: bool = False,
    use_regex: bool = False,
    ignore_merges: bool = False,
    normalizer: Any = None,
    suffix: str | None = None,
) -> Tokenizer:
    extra: dict[str, Any] = {"end_of_word_suffix": suffix} if suffix else {}
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges, **extra))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    last = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=use_regex)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, last])
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    extra |= {"special_tokens": special, "initial_alphabet": ALPHABET}
    trainer = trainers.BpeTrainer(vocab_size=1200, show_progress=False, **extra)
    tokenizer.train_from_iterator(training_lines(), trainer)
    return tokenizer


def _regex(pattern: str, behavior: str = "isolated") -> Any:
    return pre_tokenizers.Split(Regex(pattern), behavior)


def smollm2() -> Tokenizer:
    return build_tokenizer(GgufFile(demo_path("demo:smollm2-135m", Path())))


def minilm(cache: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(demo_path("demo:minilm", cache) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def gpt2() -> Tokenizer:
    tokenizer = _byte_level(use_regex=True, add_prefix_space=True)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_tokens([AddedToken("tok", single_word=True), AddedToken("<|new|>", lstrip=True, rstrip=True)])
    return tokenizer


def roberta() -> Tokenizer:
    tokenizer = _byte_level(use_regex=True)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True), "<s>", "</s>"])
    ids = {name: tokenizer.token_to_id(name) for name in ("<s>", "</s>")}
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", ids["</s>"]), ("<s>", ids["<s>"]))
    return tokenizer


def llama3() -> Tokenizer:
    tokenizer = _byte_level(_regex(LLAMA3_SPLIT), ignore_merges=True)
    begin = processors.TemplateProcessing(single="<|endoftext|> $A", pair=None, special_tokens=[("<|endoftext|>", 0)])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), begin])
    return tokenizer


def qwen2() -> Tokenizer:
    return _byte_level(_regex(QWEN2_SPLIT), normalizer=normalizers.NFC())


def cl100k() -> Tokenizer:
    return _byte_level(_regex(CL100K, "removed"), normalizer=normalizers.NFKC())


def o200k() -> Tokenizer:
    return _byte_level(_regex(O200K), normalizer=normalizers.NFKD())


def deepseek() -> Tokenizer:
    ends = _regex(r"\s+$")
    han = _regex("[一-龥\u3040-ゟ゠-ヿ]+")
    return _byte_level(_regex(r"\p{N}{1,3}"), ends, han, _regex(DEEPSEEK))


def falcon() -> Tokenizer:
    tokenizer = _byte_level(use_regex=True)
    steps = [pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    digits = [pre_tokenizers.Digits(individual_digits=False), _regex("[0-9][0-9][0-9]")]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, *digits])
    return tokenizer


def byte_normalizer() -> Tokenizer:
    tokenizer = _byte_level(use_regex=True)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.ByteLevel()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("Ġ?[a-zA-Z]+|Ċ+"), "isolated")
    tokenizer.add_tokens([AddedToken("Ünïcode", normalized=True), AddedToken("x y", normalized=True)])
    return tokenizer


def clip() -> Tokenizer:
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    clean = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    tokenizer = _byte_level(pre_tokenizers.Split(Regex(CLIP), "removed", invert=True), normalizer=clean, suffix="</w>")
    tokenizer.add_tokens([AddedToken("TOK", normalized=True), AddedToken("Ünïcode", normalized=True)])
    return tokenizer


def _sentencepiece_bpe(**model: Any) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", **model))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>", *BYTES]
    trainer = trainers.BpeTrainer(vocab_size=1500, special_tokens=special, limit_alphabet=600, show_progress=False)
    tokenizer.train_from_iterator(training_lines(), trainer)
    state = Tokenizer(tokenizer.model)  # without the special tokens: they are matched only where a test adds them
    state.add_special_tokens([AddedToken(name, normalized=False) for name in special[:3]])
    return state


def llama2() -> Tokenizer:
    tokenizer = _sentencepiece_bpe(byte_fallback=True, fuse_unk=True)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair=None, special_tokens=[("<s>", 1)])
    return tokenizer


def mistral() -> Tokenizer:
    tokenizer = _sentencepiece_bpe(byte_fallback=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    steps = [decoders.Metaspace(prepend_scheme="first"), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer


def gemma() -> Tokenizer:
    tokenizer = _sentencepiece_bpe(fuse_unk=True)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def unknowns() -> Tokenizer:
    tokenizer = _sentencepiece_bpe()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="first")]
    )
    tokenizer.decoder = decoders.BPEDecoder("▁")
    return tokenizer


def _unigram(digits: int, **model: Any) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>", *(BYTES if model else [])]
    trainer = trainers.UnigramTrainer(vocab_size=1500, special_tokens=special, unk_token="<unk>", show_progress=False)
    counts = Counter("".join(training_lines()))
    frequent = {char for char, _ in counts.most_common(600)}
    tokenizer.train_from_iterator(["".join(c for c in line if c in frequent) for line in training_lines()], trainer)
    vocab = json.loads(tokenizer.to_str())["model"]["vocab"]
    rounded = [(text, round(score, digits)) for text, score in vocab]  # one digit: many ways to write a word tie
    state = Tokenizer(models.Unigram(rounded, 0, **model))
    state.add_special_tokens([AddedToken(name, normalized=False) for name in special[:3]])
    return state


def xlm_roberta() -> Tokenizer:
    tokenizer = _unigram(1)
    runs = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([precompiled(nfkc_table()), normalizers.Strip(False, True), runs])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair=None, special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return tokenizer


def albert() -> Tokenizer:
    tokenizer = _unigram(12, byte_fallback=True)
    quotes = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    forms = [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), precompiled(nfkc_table())]
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), *quotes, *forms])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="never")])
    tokenizer.add_tokens([AddedToken("tok", single_word=True, normalized=True), AddedToken("[mask]", rstrip=True)])
    return tokenizer


def _wordpiece(kind: Any, trainer: Any) -> Tokenizer:
    tokenizer = Tokenizer(kind)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Strip()])
    digits, punctuation = pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.Punctuation("contiguous")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), digits, punctuation])
    tokenizer.train_from_iterator(training_lines(), trainer)
    return tokenizer


def wordpiece() -> Tokenizer:
    special = ["[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=1500, special_tokens=special, show_progress=False)
    tokenizer = _wordpiece(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20), trainer)
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return tokenizer


def wordlevel() -> Tokenizer:
    trainer = trainers.WordLevelTrainer(vocab_size=1500, special_tokens=["[UNK]"], show_progress=False)
    return _wordpiece(models.WordLevel(unk_token="[UNK]"), trainer)


def bert_cased(cache: Path) -> Tokenizer:
    tokenizer = minilm(cache)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, handle_chinese_chars=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.CharDelimiterSplit(" "), pre_tokenizers.Punctuation("merged_with_next")]
    )
    return tokenizer


TRAINED: dict[str, Callable[[], Tokenizer]] = {
    make.__name__: make
    for make in (
        gpt2,
        roberta,
        llama3,
        qwen2,
        cl100k,
        o200k,
        deepseek,
        falcon,
        byte_normalizer,
        clip,
        llama2,
        mistral,
        gemma,
        unknowns,
        xlm_roberta,
        albert,
        wordpiece,
        wordlevel,
    )
}
REAL: dict[str, Callable[[Path], Tokenizer]] = {
    "smollm2": lambda cache: smollm2(),
    "minilm": minilm,
    "bert_cased": bert_cased,
}


def make(name: str, cache: Path) -> tuple[Tokenizer, str]:
    """A tokenizer of the zoo as its tokenizer.json reads, and that; `cache` is a folder for what is unpacked.

    (The library reads some scores one bit off what it wrote, so the tokenizer in memory is not the one in the file.)
    """
    made = (REAL[name](cache) if name in REAL else TRAINED[name]()).to_str()
    return Tokenizer.from_str(made), made
