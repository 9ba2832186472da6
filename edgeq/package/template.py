"""A Jinja chat template -> `Conversation`: segments are read off rendered probes, then checked on odd conversations.

A template is a program; it can do anything to a conversation. What all published ones do is put literals around the
texts, so that is what is looked for. Texts that a template compares its messages with ("</think>", "/no_think") are
constants of the template, so each of them is tried as content. What is left over is found by random conversations.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import product
from typing import Any, cast

from edgeq.errors import UnsupportedError, UsageError
from edgeq.package.conversation import DATE, ROLES, SYSTEM, Content, Conversation, Segments, Talk, place, turn
from edgeq.runtime import chat

Now = Callable[[str], str]
MARK = "Xq{}7"  # a word that no template has
TURNS = 4  # user messages of the longest probe: an "only", "first", two "middle" and a "last" one
STRIPS = ("", "left", "right", "both")
THOUGHT = "</think>"
MOST_CONSTANTS = 64
NOON = datetime(2031, 5, 7, 12)
ODD = (
    "", " ", "\n", "a", "  two  spaces ", "\n\nline\n\n", "\ttab\t", "{{ x }} {% y %}", '"quoted" \\ back',
    "<b>&amp;</b>", "\u00a0\u2003wide\u3000", "<|im_start|>system", "[INST] x [/INST]", "</s><s>", "naïve 你好 🙂",
    "user:\nassistant:",
)  # fmt: skip


class Template:
    """A model's chat template with its special tokens, rendered as `edgeq run` renders it."""

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        self._source, self._special = source, special_tokens

    def render(self, talk: Talk, system: str = "", now: Now = NOON.strftime) -> str:
        """The text of a conversation up to where the answer begins; raises UsageError where the template refuses it."""
        opening = [{"role": "system", "content": system}] if system else []
        said = [{"role": ROLES[1 + i % 2], "content": text} for i, text in enumerate(talk)]
        names = cast(Mapping[str, str], {**self._special, "strftime_now": now})
        return chat.render(self._source, [*opening, *said], names)

    def constants(self) -> tuple[list[str], list[str]]:
        """String constants of the template, what it may compare a message with: all, and those in tests and calls."""
        import jinja2.nodes as nodes

        tree = cast(Any, chat._compile(self._source)).environment.parse(self._source)
        tests = [node for kind in (nodes.Compare, nodes.Call, nodes.Filter) for node in tree.find_all(kind)]
        return _strings([tree]), _strings(tests)


def _strings(trees: list[Any]) -> list[str]:
    """Shortest first, and only so many: a template is not a book."""
    import jinja2.nodes

    values = {node.value for tree in trees for node in tree.find_all(jinja2.nodes.Const)}
    texts = [value for value in values if isinstance(value, str) and value.strip()]
    return sorted(texts, key=lambda text: (len(text), text))[:MOST_CONSTANTS]


def conversation_of(template: Template) -> Conversation:
    """The segments of a template.

    Raises:
        UnsupportedError: it does more than put literals around the texts; the message shows where.
    """
    bare, system = _segments(template, False), _segments(template, True)
    if bare is None and system is None:
        raise UnsupportedError("the chat template refuses a plain conversation of user and assistant")
    plain = {role: Content() for role in ROLES}
    found = Conversation(bare, system, plain)
    for role in ROLES:
        found.content[role] = _content(template, found, role)
    _check(template, found)
    return found


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
            raise _beyond(f"a message stands {text.count(mark)} times in it")
        literals.append(literal)
        text = rest
    literals.append(text)
    return [literal.replace(system, SYSTEM) if system else literal for literal in literals]


def _put(table: dict[str, str], key: str, literal: str) -> None:
    if table.setdefault(key, literal) != literal:
        raise _beyond(f"what stands around a message changes with its number: {table[key]!r}, then {literal!r}")


def _beyond(what: str) -> UnsupportedError:
    return UnsupportedError(
        f"the chat template does more than put texts around messages, which a packaged program cannot: {what}. "
        "`edgeq run` and the C API have no such limit"
    )


def _content(template: Template, found: Conversation, role: str) -> Content:
    """What the template does to the texts of one role."""
    for strip in STRIPS:
        if all(_same(template, found, role, Content(strip=strip), text) for text in (" \n Q \t\n", "\u00a0Q\u2003")):
            break
    else:
        raise _beyond(f"it changes the text of the {role}")
    if not _same(template, found, role, Content(strip=strip), f"p{THOUGHT}\n\nQ"):
        cut = Content(THOUGHT, strip)
        if _same(template, found, role, cut, f"p{THOUGHT}\n\nQ{THOUGHT}\nR"):
            return _refusals(template, found, role, cut)
    return _refusals(template, found, role, Content(strip=strip))


def _refusals(template: Template, found: Conversation, role: str, content: Content) -> Content:
    """Finds the texts for which the template does something else."""
    constants, compared = template.constants()
    refused = [text for text in constants if not all(_same(template, found, role, content, t) for t in _around(text))]
    allowed = [text for text in compared if text not in refused]
    for first, second in product(allowed, allowed):
        if first not in refused and not _same(template, found, role, content, f"{first}x{second}"):
            refused.append(first)
    minimal = [text for text in refused if not any(other in text for other in refused if other != text)]
    return replace(content, refused=tuple(minimal))


def _around(text: str) -> tuple[str, ...]:
    return text, f"x{text}", f"{text}x", f"x{text}\n\ny", f" {text} "


def _same(template: Template, found: Conversation, role: str, content: Content, text: str) -> bool:
    """Whether conversations in which `role` says `text` come out as the template has them."""
    tried = Conversation(found.bare, found.system, {**found.content, role: content})
    return all(_agrees(template, tried, talk, system) for talk, system in _talks(found, role, text))


def _talks(found: Conversation, role: str, text: str) -> Iterator[tuple[list[str], str]]:
    """Conversations in which a role says a text, with and without a system message."""
    users = [[text], [text, "a", "a"], ["a", "a", text]]
    talks = {"system": [["a", "a", "a"]], "user": users, "assistant": [["a", text, "a"]]}[role]
    for talk in talks:
        if found.system:
            yield talk, text if role == "system" else "a"
        if found.bare and role != "system":
            yield talk, ""


def _agrees(template: Template, found: Conversation, talk: Talk, system: str) -> bool:
    try:
        return template.render(talk, system) == found.render(talk, system, NOON)
    except UsageError:
        return False


def _check(template: Template, found: Conversation) -> None:
    """Random conversations of odd texts, a date among them; raises UnsupportedError for the first that differs."""
    draw = random.Random(0)
    for users in [1, 2, 3, 5, 8] * 8:
        talk = [_text(draw, found.content[ROLES[1 + i % 2]]) for i in range(2 * users - 1)]
        for system in {"", _text(draw, found.content["system"])}:
            if (found.system if system else found.bare) is not None and not _agrees(template, found, talk, system):
                raise _beyond(f"this conversation comes out differently: {[system, *talk] if system else talk!r}")


def _text(draw: random.Random, content: Content) -> str:
    while True:
        text = "".join(draw.choices(ODD, k=draw.randint(1, 3)))
        if not any(refused in text for refused in content.refused):
            return text


def facts(found: Conversation) -> dict[str, Any]:
    """For the program's facts: the segments and what is done to texts, as nested dictionaries."""
    def sides(segments: Segments | None) -> dict[str, dict[str, str]] | None:
        return None if segments is None else vars(segments)

    content = {role: {"after": c.after or None, "strip": c.strip or None, "refused": list(c.refused) or None}
               for role, c in found.content.items()}  # fmt: skip
    return {"bare": sides(found.bare), "system": sides(found.system), "content": content}
