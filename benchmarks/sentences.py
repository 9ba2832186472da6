"""English sentences without a download: prose of Python's own manual (`pydoc_data.topics`), the same every time."""

from __future__ import annotations

import random
import re

WORDS = (6, 60)
QUOTES = str.maketrans({"*": "", '"': "", "`": "", "“": "", "”": ""})
SENTENCE = re.compile(r"[A-Z][A-Za-z0-9 ,;:'()\-]+\.")
CODE = re.compile(r"__|==|->|[{}\[\]<>|\\=]|\b\w+\(")


def sentences(count: int, seed: int = 0) -> list[str]:
    """`count` different sentences of 6 to 60 words, drawn in a fixed order."""
    from pydoc_data.topics import topics

    found: dict[str, None] = {}
    for topic in sorted(topics):
        found |= dict.fromkeys(s for paragraph in paragraphs(topics[topic]) for s in split(paragraph))
    if len(found) < count:
        raise SystemExit(f"pydoc_data.topics holds {len(found)} sentences, {count} were asked for")
    return random.Random(seed).sample(list(found), count)


def paragraphs(text: str) -> list[str]:
    """Blank-line separated paragraphs on one line each."""
    return [" ".join(part.split()).translate(QUOTES) for part in re.split(r"\n\s*\n", text)]


def split(paragraph: str) -> list[str]:
    """The whole sentences of a paragraph that are prose."""
    parts = re.split(r"(?<=[.!?])\s+", paragraph)
    return [part for part in parts if is_prose(part)]


def is_prose(text: str) -> bool:
    """A capital first, a full stop last, words between, no code."""
    enough = WORDS[0] <= len(text.split()) <= WORDS[1]
    return enough and SENTENCE.fullmatch(text) is not None and not CODE.search(text)
