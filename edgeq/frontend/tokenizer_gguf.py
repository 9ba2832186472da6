"""Tokenizer files from a GGUF's metadata.

A GGUF only names its pre-tokenizer (`tokenizer.ggml.pre`), and transformers' import ignores that name (SmolLM2 loses
its digit splitting, 3 % of perplexity). Here the name decides, and one that is not in the table is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from edgeq.errors import UnsupportedError
from edgeq.frontend.gguf_file import GgufFile

CONTROL, USER_DEFINED = 3, 4  # token types of llama.cpp
PreTokenizers = Callable[[], list[Any]]
# The split patterns are those of the original tokenizer.json files.
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
QWEN2_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")


def _byte_level() -> list[Any]:
    from tokenizers.pre_tokenizers import ByteLevel

    return [ByteLevel(add_prefix_space=False)]


def _digits() -> list[Any]:
    from tokenizers.pre_tokenizers import Digits

    return [Digits(individual_digits=True), *_byte_level()]


def _split(pattern: str) -> PreTokenizers:
    def make() -> list[Any]:
        from tokenizers import Regex
        from tokenizers.pre_tokenizers import ByteLevel, Split

        return [Split(Regex(pattern), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]

    return make


PRE_TOKENIZERS: dict[str, PreTokenizers] = {
    "smollm": _digits,
    "gpt-2": _byte_level,
    "qwen2": _split(QWEN2_SPLIT),
    "llama-bpe": _split(LLAMA3_SPLIT),
}
NORMALIZED = {"qwen2"}  # text is brought to Unicode form C first


def gguf_assets(file: GgufFile, config: Any) -> dict[str, bytes]:
    """tokenizer.json, tokenizer_config.json, chat_template.jinja, generation_config.json and config.json.

    Raises:
        UnsupportedError: a tokenizer or pre-tokenizer that this table does not know.
    """
    ids = {kind: file.field(f"tokenizer.ggml.{kind}_token_id") for kind in ("bos", "eos", "padding", "unknown")}
    assets = {
        "tokenizer.json": build_tokenizer(file).to_str(pretty=True).encode(),
        "tokenizer_config.json": _json(_tokenizer_config(file, ids)),
        "generation_config.json": _json(_generation_config(ids)),
        "config.json": config.to_json_string(use_diff=False).encode(),
    }
    template = file.field("tokenizer.chat_template")
    if template:
        assets["chat_template.jinja"] = str(template).encode()
    licence = file.field("general.license")
    if licence:
        assets["LICENSE.txt"] = f"The GGUF file names its licence: {licence}\n".encode()
    return assets


def build_tokenizer(file: GgufFile) -> Any:
    """The byte-level BPE `tokenizers.Tokenizer` that the metadata describes."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

    pre = _pre_tokenizer_name(file)
    tokens, types = file.field("tokenizer.ggml.tokens"), file.field("tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ", 1)) for merge in file.field("tokenizer.ggml.merges")]
    ignore_merges = pre == "llama-bpe"
    model = models.BPE({token: i for i, token in enumerate(tokens)}, merges, ignore_merges=ignore_merges)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(PRE_TOKENIZERS[pre]())
    tokenizer.normalizer = normalizers.NFC() if pre in NORMALIZED else None
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = _post_processor(file, tokens)
    for token, kind in zip(tokens, types or [], strict=False):
        if kind in (CONTROL, USER_DEFINED):
            special = kind == CONTROL
            added = AddedToken(token, special=special, normalized=False)
            _ = tokenizer.add_special_tokens([added]) if special else tokenizer.add_tokens([added])
    return tokenizer


def _post_processor(file: GgufFile, tokens: list[str]) -> Any:
    """The beginning-of-sequence token in front, where the metadata asks for it."""
    from tokenizers import processors

    bos = file.field("tokenizer.ggml.bos_token_id")
    if bos is None or not file.field("tokenizer.ggml.add_bos_token", False):
        return processors.ByteLevel(trim_offsets=False)
    token = tokens[bos]
    return processors.TemplateProcessing(
        single=f"{token} $A", pair=f"{token} $A {token} $B", special_tokens=[(token, int(bos))]
    )


def _pre_tokenizer_name(file: GgufFile) -> str:
    model, pre = file.field("tokenizer.ggml.model"), file.field("tokenizer.ggml.pre")
    if model != "gpt2":
        raise UnsupportedError(
            f"{file.path.name}: a GGUF tokenizer of kind {model!r} cannot be rebuilt exactly; edgeq rebuilds "
            "byte-level BPE ('gpt2'). Compile the original Hugging Face folder instead"
        )
    if pre not in PRE_TOKENIZERS:
        raise UnsupportedError(
            f"{file.path.name}: pre-tokenizer {pre!r} is not one of {', '.join(PRE_TOKENIZERS)}, and guessing it would "
            "silently change tokens. Compile the original Hugging Face folder instead"
        )
    return str(pre)


def _tokenizer_config(file: GgufFile, ids: dict[str, Any]) -> dict[str, Any]:
    tokens = file.field("tokenizer.ggml.tokens")
    names = {"bos": "bos_token", "eos": "eos_token", "padding": "pad_token", "unknown": "unk_token"}
    settings: dict[str, Any] = {names[kind]: tokens[i] for kind, i in ids.items() if i is not None}
    # The plain class takes tokenizer.json as it is; an architecture's own class would rebuild its own split.
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings["clean_up_tokenization_spaces"] = False
    settings["add_bos_token"] = bool(file.field("tokenizer.ggml.add_bos_token", False))
    length = file.field(f"{file.architecture}.context_length")
    return settings | ({"model_max_length": int(length)} if length else {})


def _generation_config(ids: dict[str, Any]) -> dict[str, int]:
    names = {"bos": "bos_token_id", "eos": "eos_token_id", "padding": "pad_token_id"}
    return {names[kind]: int(i) for kind, i in ids.items() if i is not None and kind in names}


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
