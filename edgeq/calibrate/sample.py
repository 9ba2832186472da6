"""Sample tokens for passes that measure activations: a short text of our own, or the user's."""

from __future__ import annotations

from pathlib import Path

from edgeq.errors import UsageError
from edgeq.frontend.source import Source

OWN_TEXT = Path(__file__).with_name("sample.txt")
MOST_TOKENS = 512
MOST_TEXTS = 64
NONE, OWN = "none", "edgeq's sample"  # how the manifest names our own text


def sample_tokens(source: Source, text: str = "") -> list[int]:
    """Up to 512 token ids, special tokens as the tokenizer adds them.

    Args:
        source: the model; without a tokenizer.json the result is empty.
        text: a text file; empty: a short text that edgeq brings along (prose, figures, code); `none`: no tokens.

    Raises:
        UsageError: the file cannot be read as text, or is empty.
    """
    if text == NONE or "tokenizer.json" not in source.assets:
        return []
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(source.assets["tokenizer.json"].decode())
    return list(tokenizer.encode(_read(text)).ids[:MOST_TOKENS])


def sample_texts(source: Source, text: str = "") -> list[list[int]]:
    """Token ids of the sample's paragraphs, each as a text of its own: what an encoder is measured on.

    Arguments and errors as for `sample_tokens`.
    """
    if text == NONE or "tokenizer.json" not in source.assets:
        return []
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(source.assets["tokenizer.json"].decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    parts = [part.strip() for part in _read(text).split("\n\n") if part.strip()]
    return [list(tokenizer.encode(part).ids) for part in parts[:MOST_TEXTS]]


def _read(text: str) -> str:
    path = Path(text) if text else OWN_TEXT
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--calib {path}: cannot be read as text ({error}); give a UTF-8 file, or `none`") from error
    if not content.strip():
        raise UsageError(f"--calib {path}: the file is empty")
    return content
