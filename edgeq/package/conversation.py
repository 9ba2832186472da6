"""A chat template as literal segments: what the packaged program puts between the texts of a conversation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

SYSTEM = "\x01"  # in a segment: the system message goes here
DATE = "\x02"  # in a segment: before and after a strftime format, today's date goes here
ROLES = ("system", "user", "assistant")
Talk = Sequence[str]  # what is said in turn: user, assistant, user, ..., user


@dataclass(frozen=True)
class Content:
    """What a template does to the text of a role before it stands between the segments.

    Attributes:
        after: only what follows the last of these texts is kept ("</think>"), without newlines before it; "" keeps all.
        strip: whitespace taken off: "", "left", "right" or "both".
        refused: texts for which the template does something else; a program must refuse what contains them.
    """

    after: str = ""
    strip: str = ""
    refused: tuple[str, ...] = ()

    def apply(self, text: str) -> str:
        """The text as it stands in the conversation."""
        if self.after and self.after in text:
            text = text.rpartition(self.after)[2].lstrip("\n")
        strips: Mapping[str, Callable[[str], str]] = {"left": str.lstrip, "right": str.rstrip, "both": str.strip}
        return strips[self.strip](text) if self.strip else text


@dataclass(frozen=True)
class Segments:
    """The literal texts of a conversation, with SYSTEM and DATE in their places.

    Attributes:
        before: by place of a user's message: "only", "first", "middle", "last" (of how many it is). What stands before
            it, since the assistant's or from the beginning.
        after: by "first" and "later": what stands between a user's message and the answer to it.
        close: by "only" and "last": what stands after the last message, up to where the model begins.
    """

    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    close: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Conversation:
    """All that a program needs to render conversations as the template does.

    Attributes:
        bare, system: segments without and with a system message; None where the template refuses such conversations.
        content: by role.
    """

    bare: Segments | None
    system: Segments | None
    content: dict[str, Content]

    def render(self, talk: Talk, system: str = "", now: datetime | None = None) -> str:
        """What the packaged program makes of a conversation: the specification of `app/conversation.c`.

        talk: user, assistant, user, ..., user. system: "" is none. Raises ValueError where there are no such segments.
        """
        segments = self.system if system else self.bare
        if segments is None:
            raise ValueError(f"the template refuses conversations {'with' if system else 'without'} a system message")
        users = (len(talk) + 1) // 2
        parts = []
        for i, text in enumerate(talk):
            role = ROLES[1 + i % 2]
            literal = segments.before[place(i // 2, users)] if role == "user" else segments.after[turn(i // 2)]
            parts += [literal, self.content[role].apply(text)]
        parts.append(segments.close["only" if users == 1 else "last"])
        said = self.content["system"].apply(system)
        return "".join(p if i % 2 else _fill(p, said, now) for i, p in enumerate(parts))


def place(index: int, count: int) -> str:
    """Which of `count` user messages number `index` is."""
    if count == 1:
        return "only"
    return "first" if index == 0 else "last" if index == count - 1 else "middle"


def turn(index: int) -> str:
    """Which answer number `index` is."""
    return "first" if index == 0 else "later"


def _fill(literal: str, system: str, now: datetime | None) -> str:
    texts = literal.split(DATE)
    dated = [(now or datetime.now()).strftime(t) if i % 2 else t.replace(SYSTEM, system) for i, t in enumerate(texts)]
    return "".join(dated)
