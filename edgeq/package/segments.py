"""A chat template -> `Conversation`: segments are read off rendered probes, then checked on odd conversations.

A template is a program; it can do anything to a conversation. What all published ones do is put literals around the
texts, so that is what is looked for. Texts that a template compares its messages with ("</think>", "/no_think") are
constants of the template, so each of them is tried as content. What is left over is found by random conversations.
"""

from __future__ import annotations

import random
from typing import Any

from edgeq.errors import UnsupportedError, UsageError
from edgeq.package.contents import Side, content_of
from edgeq.package.conversation import DATE, SYSTEM, VOICES, Content, Conversation, Segments, Talk, place, turn, voice
from edgeq.package.template import Template, beyond

MARK = "Xq{}7"  # a word that no template has
TURNS = 4  # user messages of the longest probe: an "only", "first", two "middle" and a "last" one
ODD = (
    "", " ", "\n", "a", "  two  spaces ", "\n\nline\n\n", "\ttab\t", "{{ x }} {% y %}", '"quoted" \\ back',
    "<b>&amp;</b>", "\u00a0\u2003wide\u3000", "<|im_start|>system", "[INST] x [/INST]", "</s><s>", "naïve 你好 🙂",
    "user:\nassistant:",
)  # fmt: skip


def conversation_of(template: Template) -> Conversation:
    """The segments of a template.

    Raises:
        UnsupportedError: it does more than put literals around the texts; the message shows where.
    """
    found = Conversation(_segments(template, False), _segments(template, True))
    sides = [Side(template, s, s is found.system) for s in (found.bare, found.system) if s is not None]
    if not sides:
        raise UnsupportedError("the chat template refuses a plain conversation of user and assistant")
    for side in sides:
        for who in VOICES if side.has_system else VOICES[1:]:
            side.segments.content[who] = content_of(side, who)
        _check(side)
    return found


def facts(found: Conversation) -> dict[str, Any]:
    """For the program's facts: the segments and what is done to texts, as nested dictionaries; what is not is None."""
    return {"bare": found.bare and _side(found.bare), "system": found.system and _side(found.system)}


def _side(segments: Segments) -> dict[str, Any]:
    content = {who: {name: value or None for name, value in vars(c).items()} for who, c in segments.content.items()}
    return {**vars(segments), "content": content}


def _segments(template: Template, has_system: bool) -> Segments | None:
    """Segments read off probes; None where the template refuses such conversations."""
    found = Segments()
    system = MARK.format("s") if has_system else ""
    for users in range(1, TURNS + 1):
        talk = [MARK.format(i) for i in range(2 * users - 1)]
        try:
            literals = _literals(template.render(talk, system, lambda form: DATE + form + DATE), talk, system)
        except UsageError:
            if users == 1:
                return None
            raise
        for i, literal in enumerate(literals[:-1]):
            _put(found.after if i % 2 else found.before, turn(i // 2) if i % 2 else place(i // 2, users), literal)
        _put(found.close, "only" if users == 1 else "last", literals[-1])
    return found


def _literals(text: str, talk: Talk, system: str) -> list[str]:
    """What stands before, between and after the marks, SYSTEM where the system's mark was."""
    if SYSTEM in text:
        raise UnsupportedError("the chat template uses control characters")
    literals = []
    for mark in talk:
        literal, _, rest = text.partition(mark)
        if text.count(mark) != 1:
            raise beyond(f"a message stands {text.count(mark)} times in it")
        literals.append(literal)
        text = rest
    literals.append(text)
    return [literal.replace(system, SYSTEM) if system else literal for literal in literals]


def _put(table: dict[str, str], key: str, literal: str) -> None:
    if table.setdefault(key, literal) != literal:
        raise beyond(f"what stands around a message changes with its number: {table[key]!r}, then {literal!r}")


def _check(side: Side) -> None:
    """Random conversations of odd texts, a date among them; raises UnsupportedError for the first that differs."""
    draw = random.Random(0)
    pieces = [*ODD, *side.template.compared]
    for users in [1, 2, 3, 5, 8] * 8:
        count = 2 * users - 1
        talk = [_text(draw, pieces, side.segments.content[voice(i, count)]) for i in range(count)]
        system = _text(draw, pieces, side.segments.content["system"]) or "a" if side.has_system else ""
        if not side.agrees(talk, system):
            raise beyond(f"this conversation comes out differently: {[system, *talk] if system else talk!r}")


def _text(draw: random.Random, pieces: list[str], content: Content) -> str:
    while True:
        text = "".join(draw.choices(pieces, k=draw.randint(1, 3)))
        if content.takes(text):
            return text
