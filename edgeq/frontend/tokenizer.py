"""The files an artifact carries, and golden lines that prove it tokenizes as the original does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ASSETS = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "chat_template.jinja", "chat_template.json", "vocab.json", "merges.txt", "tokenizer.model", "added_tokens.json",
    "preprocessor_config.json", "processor_config.json", "vocab.txt", "sentencepiece.bpe.model", "spiece.model",
    "sentence_bert_config.json", "config_sentence_transformers.json",
)
COMPILE_FILES = ("modules.json", "*/config.json")  # how sentence-transformers puts a model together
LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
GOLDEN_TEXTS = (
    "Hello, world!",
    "The year 1987 had 365 days; 3.14159 is not 22/7.",
    "  two leading spaces,\ttab\nand\n\nlines ",
    "def f(x):\n    return x**2  # comment",
    "Größe, naïve, 你好, мир, 🙂🙂",
    "don't WE'LL they're_isn't",
)


def folder_assets(folder: Path) -> dict[str, bytes]:
    """The files of a Hugging Face folder that travel with the model, as they are, by name."""
    found = {name: folder / name for name in ASSETS if (folder / name).is_file()}
    for pattern in LICENCES:
        found.update({path.name: path for path in sorted(folder.glob(pattern)) if path.is_file()})
    return {name: path.read_bytes() for name, path in found.items()}


def compile_files(folder: Path) -> dict[str, bytes]:
    """The files of a folder that say how the model is put together, by path in it."""
    found = [path for pattern in COMPILE_FILES for path in sorted(folder.glob(pattern)) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def golden(tokenizer: Any) -> list[dict[str, Any]]:
    """`{"text", "ids"}` lines: what the tokenizer gives for texts on which pre-tokenizers differ, without specials.

    tokenizer: a transformers tokenizer or a `tokenizers.Tokenizer`.
    """
    return [{"text": text, "ids": token_ids(tokenizer, text)} for text in GOLDEN_TEXTS]


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text, no special tokens added."""
    encoded = tokenizer.encode(text, add_special_tokens=False)
    return list(getattr(encoded, "ids", encoded))
