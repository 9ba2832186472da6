"""What a calibration source holds before a model sees it: texts, conversations, photos."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Message = Mapping[str, Any]
Text = str | Sequence[Message]  # a text, or a conversation for the model's chat template
Photo = Path | bytes

MOST_BYTES = 64 << 20  # read of one source: from larger ones the first 64 MB are used


@dataclass(frozen=True)
class Records:
    """The records of a source, in its order.

    Attributes:
        name: as the user gave it, for messages. what: for people: `12 texts of notes.jsonl`.
        texts: texts and conversations. joined: they are consecutive pieces of one text, whose concatenation it is.
        photos: image files, or their bytes.
    """

    name: str
    what: str
    texts: tuple[Text, ...] = ()
    joined: bool = False
    photos: tuple[Photo, ...] = ()


def within(items: Iterable[Text], most: int = MOST_BYTES) -> tuple[Text, ...]:
    """Items from the beginning until `most` characters are there; what is empty is left out."""
    kept: list[Text] = []
    held = 0
    for item in items:
        if held >= most:
            break
        if size(item):
            kept.append(item)
            held += size(item)
    return tuple(kept)


def size(text: Text) -> int:
    """Characters; 0 for what is blank."""
    if isinstance(text, str):
        return len(text) if not text.isspace() else 0
    return sum(len(str(message.get("content", ""))) for message in text)


def plural(count: int, noun: str) -> str:
    """`1 text`, `12 texts`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
