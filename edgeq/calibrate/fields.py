"""Which field of a record is measured on: `text`, a conversation, a prompt, or the one that was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgeq.calibrate.records import Text
from edgeq.errors import UsageError

TEXT_FIELDS = ("text", "messages", "prompt")
IMAGE_FIELDS = ("image", "img")


def choose(names: Iterable[str], asked: str, where: str) -> str:
    """The field to read: `asked`, else the first of TEXT_FIELDS, else an image.

    Raises:
        UsageError: it is not there; the message lists the fields that are.
    """
    there = list(names)
    wanted = (asked,) if asked else (*TEXT_FIELDS, *IMAGE_FIELDS)
    found = next((name for name in wanted if name in there), None)
    if found is None:
        lacks = f"no field {asked!r}" if asked else "no field 'text', 'messages' or 'prompt'"
        listed = ", ".join(there) or "none"
        raise UsageError(f"--calib {where}: {lacks}; there are: {listed}. Name one: {_example(where, there)}")
    return found


def _example(where: str, there: Sequence[str]) -> str:
    return f"--calib {where.split(', line')[0]}#{there[0] if there else 'FIELD'}"


def text_of(record: Mapping[str, Any], name: str, where: str) -> Text:
    """The text or conversation in field `name`, "" for null.

    A `prompt` is what a user says, and a `completion` beside it the answer: a conversation.

    Raises:
        UsageError: neither a text nor a list of messages with `role` and `content`.
    """
    value = record[name]
    if value is None:
        return ""
    if isinstance(value, str):
        if name == "prompt" and value.strip():
            answer = record.get("completion")
            said = [("user", value), ("assistant", answer)] if isinstance(answer, str) else [("user", value)]
            return [{"role": role, "content": content} for role, content in said]
        return value
    if isinstance(value, list) and all(_is_message(item) for item in value):
        return value
    kind = "a list whose items are no messages" if isinstance(value, list) else f"of type {type(value).__name__}"
    raise UsageError(
        f"--calib {where}: field {name!r} is {kind}; it takes a text, or a list of messages "
        '({"role": ..., "content": ...})'
    )


def _is_message(item: object) -> bool:
    return isinstance(item, Mapping) and isinstance(item.get("role"), str) and "content" in item
