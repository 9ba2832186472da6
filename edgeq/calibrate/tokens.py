"""Texts and conversations as a model's token ids, and windows of them."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from edgeq.calibrate.records import Records, Text, size
from edgeq.errors import UsageError
from edgeq.evaluate.text import begin_token
from edgeq.runtime import chat
from edgeq.runtime.tokens import Tokenizer

FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
ENDINGS = ("generation_config.json", "config.json")  # name the tokens that end an answer
DAY = datetime(2024, 7, 26)  # templates that print the date print this one: the same data gives the same tokens
STRETCH = 8000  # characters of one text that stay together
SURPLUS = 32  # characters looked at for each token wanted, so that windows come from everywhere

T = TypeVar("T")


class Encoder:
    """The model's own tokenizer and chat template.

    Attributes:
        begin: the token that the tokenizer puts before every text, None when it puts none.
        stop_tokens: those that end what the model says.
    """

    def __init__(self, assets: dict[str, bytes]) -> None:
        """`assets`: the model's files by name, tokenizer.json among them."""
        with tempfile.TemporaryDirectory(prefix="edgeq-") as folder:
            for name in (*FILES, *ENDINGS):
                if name in assets:
                    (Path(folder) / name).write_bytes(assets[name])
            (Path(folder) / FILES[0]).write_bytes(_endless(assets[FILES[0]]))
            self._tokenizer = Tokenizer(folder)
        self.begin = begin_token(self._tokenizer.encode)
        self.stop_tokens = self._tokenizer.stop_tokens

    def plain(self, text: str, special: bool) -> list[int]:
        """Token ids of a text; `special`: with what the tokenizer puts around it."""
        return self._tokenizer.encode(_clean(text), special)

    def encode(self, text: Text, name: str = "") -> list[int]:
        """Token ids: of a text with what the tokenizer puts around it, of a conversation by the chat template.

        A prompt, and what answers it, are plain text to a model without a chat template.

        Raises:
            UsageError: messages without a chat template, or that it refuses.
        """
        if isinstance(text, str):
            return self._tokenizer.encode(_clean(text))
        if self._tokenizer.chat_template is None:
            if [message["role"] for message in text] in (["user"], ["user", "assistant"]):
                return self._tokenizer.encode(_clean("\n".join(str(message["content"]) for message in text)))
            raise UsageError(
                f"--calib {name}: it holds conversations, and the model has no chat template to lay them out; name a "
                "field of plain text: FILE#FIELD"
            )
        values: dict[str, Any] = {**self._tokenizer.special_tokens, "strftime_now": DAY.strftime}
        answered = text[-1].get("role") == "assistant"
        try:
            rendered = chat.render(self._tokenizer.chat_template, text, values, answer=not answered)
        except UsageError as error:
            raise UsageError(f"--calib {name}: {error}") from error
        return self._tokenizer.encode(_clean(rendered), special=False)


def _endless(tokenizer: bytes) -> bytes:
    """tokenizer.json without the length that some models cut and pad every text to."""
    return json.dumps({**json.loads(tokenizer), "truncation": None, "padding": None}).encode()


def _clean(text: str) -> str:
    """Lone surrogates, which JSON can hold and UTF-8 cannot, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def stretches(records: Records) -> list[list[Text]]:
    """What stays together: a text of its own, or consecutive pieces of one text, some thousand characters."""
    if not records.joined:
        return [[text] for text in records.texts]
    found: list[list[Text]] = [[]]
    held = 0
    for piece in records.texts:
        if held + size(piece) > STRETCH and found[-1]:
            found.append([])
            held = 0
        found[-1].append(piece)
        held += size(piece)
    return found


def windows(encoder: Encoder, records: Records, length: int, wanted: int, seed: int) -> list[list[int]]:
    """Windows of `length` tokens out of a part of the records that is drawn by `seed` and large enough for `wanted`.

    Texts follow one another; every window begins with the tokenizer's begin token, if it has one. A shorter window is
    kept where it is the only one or has a quarter of the length.
    """
    parts = drawn(stretches(records), lambda part: sum(map(size, part)), SURPLUS * length * wanted, seed)
    ids: list[int] = []
    for part in parts:
        texts: Iterable[Text] = ["".join(map(str, part))] if records.joined else part
        for text in texts:
            ids += encoder.encode(text, records.name)
    return cut(ids, length, encoder.begin)


def cut(ids: Sequence[int], length: int, begin: int | None) -> list[list[int]]:
    """Windows of at most `length` tokens, each with `begin` first when that is not None."""
    found: list[list[int]] = []
    at = 0
    while at < len(ids):
        head = [] if begin is None or ids[at] == begin else [begin]
        body = list(ids[at : at + length - len(head)])
        found.append(head + body)
        at += len(body)
    return [window for window in found if len(found) == 1 or len(window) >= max(2, length // 4)]


def drawn(items: Sequence[T], size_of: Any, most: int, seed: int) -> list[T]:
    """Some of the items, in their order: drawn by `seed` until they have `most` of what `size_of` counts."""
    held, kept = 0, []
    for index in random.Random(seed).sample(range(len(items)), len(items)):
        if held >= most:
            break
        kept.append(index)
        held += size_of(items[index])
    return [items[index] for index in sorted(kept)]


def divided(items: Sequence[T], count: int, seed: int) -> tuple[list[T], list[T]]:
    """(at most `count` of the items, others to choose between recipes), both drawn by `seed`, in their order.

    The others are a quarter as many, at least one, taken from the first where there are too few: one item in four,
    one of two; there are none beside a single item.
    """
    order = random.Random(seed).sample(range(len(items)), len(items))
    kept = len(items) - min(max(1, count // 4), (len(items) + 2) // 4)
    kept = kept if len(items) > 1 else len(items)
    used, held = order[: min(count, kept)], order[kept:]
    return [items[i] for i in sorted(used)], [items[i] for i in sorted(held)]
