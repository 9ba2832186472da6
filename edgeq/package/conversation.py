"""A chat template as literal segments: what the packaged program puts between the texts of a conversation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

SYSTEM = "\x01"  # in a segment: the system message goes here
DATE = "\x02"  # in a segment: before and after a strftime format, today's date goes here
ROLES = {"system": "system", "first": "user", "user": "user", "earlier": "assistant", "assistant": "assistant"}
VOICES = tuple(ROLES)  # first: the user's first message; earlier: all answers but the last
Talk = Sequence[str]  # what is said in turn: user, assistant, user, ..., user


STRIPS: Mapping[str, Callable[[str], str]] = {
    "": lambda text: text,
    "newlines": lambda text: text.lstrip("\n"),
    "left": str.lstrip,
    "right": str.rstrip,
    "both": str.strip,
}


@dataclass(frozen=True)
class Content:
    """What a template does to the text of a voice before it stands between the segments.

    Attributes:
        strip: what is taken off first, a key of STRIPS. after: then only what follows the last of these texts is kept
            ("</think>"); "" keeps all. cut: what is taken off that.
        refused: texts for which the template does something else; a program must refuse what contains them.
        filled: it does something else where nothing but whitespace is left; a program must refuse that.
    """

    strip: str = ""
    after: str = ""
    cut: str = ""
    refused: tuple[str, ...] = ()
    filled: bool = False

    def apply(self, text: str) -> str:
        """The text as it stands in the conversation."""
        text = STRIPS[self.strip](text)
        return STRIPS[self.cut](self._kept(text)) if self.after and self.after in text else text

    def takes(self, text: str) -> bool:
        """Whether a program may say this text."""
        kept = self._kept(text)
        return not any(part in kept for part in self.refused) and not (self.filled and not kept.strip())

    def _kept(self, text: str) -> str:
        return text.rpartition(self.after)[2] if self.after else text


@dataclass(frozen=True)
class Segments:
    """The literal texts of a conversation, with SYSTEM and DATE in their places.

    Attributes:
        before: by place of a user's message: "only", "first", "middle", "last" (of how many it is). What stands before
            it, since the assistant's or from the beginning.
        after: by "first" and "later": what stands between a user's message and the answer to it.
        close: by "only" and "last": what stands after the last message, up to where the model begins.
        content: by voice: what happens to the text.
    """

    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    close: dict[str, str] = field(default_factory=dict)
    content: dict[str, Content] = field(default_factory=lambda: dict.fromkeys(VOICES, Content()))

    def render(self, talk: Talk, system: str = "", now: datetime | None = None) -> str:
        """What the packaged program makes of a conversation: the specification of `app/conversation.c`.

        talk: user, assistant, user, ..., user. now: the local time by default.
        """
        parts = []
        for i, text in enumerate(talk):
            literal = self.after[turn(i // 2)] if i % 2 else self.before[place(i // 2, (len(talk) + 1) // 2)]
            parts += [literal, self.content[voice(i, len(talk))].apply(text)]
        parts.append(self.close["only" if len(talk) == 1 else "last"])
        said = self.content["system"].apply(system)
        return "".join(part if i % 2 else _fill(part, said, now) for i, part in enumerate(parts))


@dataclass(frozen=True)
class Conversation:
    """Segments without and with a system message; None where the template refuses such conversations."""

    bare: Segments | None
    system: Segments | None


def place(index: int, count: int) -> str:
    """Which of `count` user messages number `index` is."""
    if count == 1:
        return "only"
    return "first" if index == 0 else "last" if index == count - 1 else "middle"


def turn(index: int) -> str:
    """Which answer number `index` is."""
    return "first" if index == 0 else "later"


def voice(index: int, count: int) -> str:
    """Who says message `index` of `count`: a template may treat the first question and the last answer differently."""
    if index % 2 == 0:
        return "user" if index else "first"
    return "assistant" if index == count - 2 else "earlier"


def _fill(literal: str, system: str, now: datetime | None) -> str:
    texts = literal.split(DATE)
    dated = [(now or datetime.now()).strftime(t) if i % 2 else t.replace(SYSTEM, system) for i, t in enumerate(texts)]
    return "".join(dated)
