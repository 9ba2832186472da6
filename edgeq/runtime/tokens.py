"""Text to tokens and back with the files of an artifact, without transformers (which takes seconds to import)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeq.errors import ArtifactError, UsageError
from edgeq.runtime import chat

SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class Tokenizer:
    """`tokenizer.json` with the chat template and the stop tokens that came with the model.

    Attributes:
        special_tokens: `bos_token`, `eos_token`, ... by name, as a chat template sees them.
        chat_template: Jinja source, None when the model has none.
        stop_tokens: ids that end an answer.
    """

    def __init__(self, folder: str | Path) -> None:
        """Read the artifact's tokenizer; raises ArtifactError when it has none or it cannot be read."""
        self._folder = Path(folder)
        self._tokenizer = load_tokenizer(self._folder / "tokenizer.json")
        config = _json(self._folder / "tokenizer_config.json")
        self.special_tokens = _special_tokens(_json(self._folder / "special_tokens_map.json") | config)
        self.chat_template = _chat_template(self._folder, config)
        self.stop_tokens = frozenset(self._stop_tokens())

    def encode(self, text: str, special: bool = True) -> list[int]:
        """Token ids; `special` adds what the tokenizer puts around a plain text (a begin token, for some)."""
        return list(self._tokenizer.encode(text, add_special_tokens=special).ids)

    def decode(self, tokens: Sequence[int], skip_special: bool = True) -> str:
        """Text of token ids."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=skip_special))

    def render(self, messages: Sequence[chat.Message], answer: bool = True) -> str:
        """A conversation as the model was trained to see it; raises UsageError without a template."""
        if self.chat_template is None:
            raise UsageError("this model has no chat template: give plain text instead (--raw)")
        return chat.render(self.chat_template, messages, self.special_tokens, answer)

    def encode_chat(self, messages: Sequence[chat.Message]) -> list[int]:
        """Token ids of a conversation up to where the answer begins."""
        return self.encode(self.render(messages), special=False)

    def _stop_tokens(self) -> list[int]:
        named = self._tokenizer.token_to_id(self.special_tokens.get("eos_token", ""))
        stops = [] if named is None else [named]
        for name in ("generation_config.json", "config.json"):
            ids = _json(self._folder / name).get("eos_token_id")
            stops += ids if isinstance(ids, list) else [] if ids is None else [ids]
        return stops


def load_tokenizer(path: Path) -> Any:
    """The `tokenizers.Tokenizer` of a tokenizer.json; raises ArtifactError when it is missing or cannot be read."""
    from tokenizers import Tokenizer as FastTokenizer

    if not path.is_file():
        raise ArtifactError(f"{path}: no tokenizer; the artifact is incomplete, or its model had none")
    try:
        return FastTokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception
        raise ArtifactError(f"{path}: cannot be read ({error})") from error


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"{path}: cannot be read as a JSON object ({error})") from error


def _special_tokens(config: dict[str, Any]) -> dict[str, str]:
    """Each is a string or `{"content": string, ...}`."""
    values = {name: config.get(name) for name in SPECIAL}
    texts = {name: v["content"] if isinstance(v, dict) else v for name, v in values.items()}
    return {name: text for name, text in texts.items() if text is not None}


def _chat_template(folder: Path, config: dict[str, Any]) -> str | None:
    """A file of its own wins; in the config it is a string or a list of named ones, of which `default` is meant."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):
        return {entry["name"]: entry["template"] for entry in template}.get("default")
    return template
