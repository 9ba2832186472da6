"""What a chat template does to the text of each voice: found by asking it to render odd texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from edgeq.errors import UsageError
from edgeq.package.conversation import ROLES, STRIPS, Content, Segments, Talk
from edgeq.package.template import NOON, Template, beyond

PADDED = (" \n Q \t\n", "\u00a0Q\u2003", "\n\n Q", "\nQ\n")
BLANK = ("", " ", "\n", " \n\t")
CUTS = ("pCUT\n\nQ", "CUTpCUT \n Q \n ", "pCUT\nqCUTQ", "pCUT\u00a0Q")
EMPTIED = ("pCUT", "pCUT\n")  # nothing is left
TALKS = {  # where a voice speaks, Q, among others, a
    "system": ("aaa",),
    "first": ("Q", "Qaa"),
    "user": ("aaQ", "aaQaa"),
    "earlier": ("aQaaa", "aQaQaaa"),
    "assistant": ("aQa", "aaaQa"),
}


@dataclass(frozen=True)
class Side:
    """Conversations of a template with a system message, or those without; `segments` hold what is known so far."""

    template: Template
    segments: Segments
    has_system: bool

    def agrees(self, talk: Talk, system: str, segments: Segments | None = None) -> bool:
        """Whether segments render a conversation as the template does."""
        try:
            return self.template.render(talk, system) == (segments or self.segments).render(talk, system, NOON)
        except UsageError:
            return False

    def same(self, voice: str, content: Content, text: str) -> bool:
        """Whether a text comes out right if `content` is what happens to the texts of a voice."""
        tried = replace(self.segments, content={**self.segments.content, voice: content})
        return all(self.agrees(talk, system, tried) for talk, system in self._talks(voice, text))

    def _talks(self, voice: str, text: str) -> Iterator[tuple[list[str], str]]:
        system = text if voice == "system" else "a" if self.has_system else ""
        for talk in TALKS[voice]:
            yield [text if said == "Q" else "a" for said in talk], system


def content_of(side: Side, voice: str) -> Content:
    """What happens to the texts of a voice; raises UnsupportedError for what `Content` cannot say."""
    content = _first(side, voice, [Content(strip=strip) for strip in STRIPS], PADDED)
    if content is None:
        raise beyond(f"it changes the text of the {ROLES[voice]}")
    blank = BLANK[1:] if voice == "system" else BLANK  # an empty system message is none
    content = replace(content, filled=not all(side.same(voice, content, text) for text in blank))
    refused = _refused(side, voice, content)
    for after in refused:
        cutting = _cutting(side, voice, content, after)
        if cutting and after not in (left := _refused(side, voice, cutting)):
            return replace(cutting, refused=left)
    return replace(content, refused=refused)


def _first(side: Side, voice: str, ways: Sequence[Content], texts: Sequence[str]) -> Content | None:
    """The first way in which all these texts come out as the template has them."""
    return next((way for way in ways if all(side.same(voice, way, text) for text in texts)), None)


def _cutting(side: Side, voice: str, content: Content, after: str) -> Content | None:
    """The content as one that keeps only what follows `after`; None where the template does not do that."""
    ways = [replace(content, after=after, cut=cut) for cut in STRIPS]
    found = _first(side, voice, ways, [text.replace("CUT", after) for text in CUTS])
    if found and not all(side.same(voice, found, text.replace("CUT", after)) for text in EMPTIED):
        return replace(found, filled=True)
    return found


def _refused(side: Side, voice: str, content: Content) -> tuple[str, ...]:
    """Constants of the template for which it does something else, alone or between others."""

    def odd(text: str) -> bool:
        return content.takes(text) and not side.same(voice, content, text)

    refused = [text for text in side.template.constants if any(map(odd, _around(text)))]
    allowed = [text for text in side.template.compared if text not in refused]
    for first, second in product(allowed, allowed):
        if first not in refused and odd(f"{first}x{second}"):
            refused.append(first)
    return tuple(text for text in refused if not any(other in text for other in refused if other != text))


def _around(text: str) -> tuple[str, ...]:
    return text, f"x{text}", f"{text}x", f"x{text}\n\ny", f" {text} "
