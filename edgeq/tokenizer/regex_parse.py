"""Parses the patterns of Split and Replace: the part of Oniguruma's syntax that pre-tokenizers use.

Sequences, alternatives, groups, `(?i:...)`, lookahead, classes, `\\p{..}`, greedy and possessive quantifiers. A class
is kept as its source text: which code points it holds is asked of Oniguruma itself (`probe.regex_class`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from edgeq.errors import UnsupportedError

INFINITE = 0xFFFFFFFF


@dataclass(frozen=True)
class Set:
    """One character of a class; `source` is a pattern that matches exactly it."""

    source: str


@dataclass(frozen=True)
class Char:
    """One literal character."""

    char: str


@dataclass(frozen=True)
class Sequence:
    """One after the other."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Choice:
    """The first alternative with which the rest matches."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """`low` to `high` times, as often as possible."""

    item: Node
    low: int
    high: int
    possessive: bool = False


@dataclass(frozen=True)
class Look:
    """What follows must (not) match."""

    item: Node
    negative: bool


@dataclass(frozen=True)
class Behind:
    """The character before must (not) be one of these."""

    item: Node
    negative: bool


@dataclass(frozen=True)
class Edge:
    """A place between characters: one of EDGES."""

    name: str


Node = Set | Char | Sequence | Choice | Repeat | Look | Behind | Edge
EDGES = ("^", "$", r"\A", r"\z", r"\b", r"\B")  # starts and ends of lines and of the text, edges of words or none
_QUANTIFIER = re.compile(r"[?*+]|\{(\d*)(,?)(\d*)\}")
_ESCAPE = re.compile(r"\\(?:[pP]\{\^?\w+\}|x\{[0-9a-fA-F]+\}|x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{4}|[sSdDwWhHrntfve]|[^\w])")
_SHORTHAND = "sSdDwWhHpP"


def parse(pattern: str) -> Node:
    """The pattern as a tree.

    Raises:
        UnsupportedError: names the pattern, and the place where it leaves the subset.
    """
    parser = _Parser(pattern)
    node = parser.choice(False)
    if parser.at < len(pattern):
        raise parser.refuse("an unmatched )")
    return node


def shortest(node: Node) -> int:
    """Characters that a match has at least."""
    if isinstance(node, Set | Char):
        return 1
    if isinstance(node, Look | Behind | Edge):
        return 0
    if isinstance(node, Repeat):
        return node.low * shortest(node.item)
    lengths = [shortest(item) for item in node.items]
    return sum(lengths) if isinstance(node, Sequence) else min(lengths)


def is_single(node: Node) -> bool:
    """Does it match exactly one character, whichever way?"""
    return isinstance(node, Set | Char) or (isinstance(node, Choice) and all(map(is_single, node.items)))


class _Parser:
    def __init__(self, pattern: str) -> None:
        self.pattern, self.at = pattern, 0

    def refuse(self, what: str) -> UnsupportedError:
        return UnsupportedError(
            f"tokenizer.json: pattern {self.pattern!r}: {what} at character {self.at}; edgeq's tokenizer knows classes,"
            " greedy quantifiers, groups, (?i:...), lookahead and edges"
        )

    def sees(self, text: str) -> bool:
        return self.pattern.startswith(text, self.at)

    def take(self, text: str) -> bool:
        found = self.sees(text)
        self.at += len(text) if found else 0
        return found

    def choice(self, folded: bool) -> Node:
        folded = self.take("(?i)") or folded  # holds for every alternative up to the group's end
        items = [self.sequence(folded)]
        while self.take("|"):
            items.append(self.sequence(folded))
        return items[0] if len(items) == 1 else Choice(tuple(items))

    def sequence(self, folded: bool) -> Node:
        items: list[Node] = []
        while self.at < len(self.pattern) and not self.sees("|") and not self.sees(")"):
            items.append(self.quantified(self.atom(folded)))
        if folded:
            self.check_folding(items)
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def check_folding(self, items: list[Node]) -> None:
        """Ignoring case, Oniguruma lets one character match several letters ("ss" and its ligatures): not done here."""
        from edgeq.tokenizer.probe import regex_class

        sources = [item.source if isinstance(item, Set) else "" for item in items]
        letters = [source[4:-1] if source.startswith("(?i:") else " " for source in sources]
        for size in (2, 3):
            for i in range(len(letters) - size + 1):
                window = letters[i : i + size]
                if " " not in window and regex_class(f"(?i:{''.join(window)})").any():
                    raise self.refuse("letters that one character matches when case is ignored, before")

    def atom(self, folded: bool) -> Node:
        if self.sees("("):
            return self.group(folded)
        for edge in EDGES:
            if self.take(edge):
                return Edge(edge)
        start = self.at
        if self.sees("["):
            self.skip_class()
        elif self.sees("\\"):
            found = _ESCAPE.match(self.pattern, self.at)
            if not found:
                raise self.refuse(f"{self.pattern[self.at : self.at + 2]}")
            self.at = found.end()
        elif self.pattern[self.at] in "*+?{":
            raise self.refuse(self.pattern[self.at])
        else:
            self.at += 1
        return _single(self.pattern[start : self.at], folded)

    def skip_class(self) -> None:
        start, depth = self.at, 0
        while self.at < len(self.pattern):
            c = self.pattern[self.at]
            self.at += 2 if c == "\\" else 1
            depth += (c == "[") - (c == "]")
            if not depth:
                return
        self.at = start
        raise self.refuse("a class without end")

    def group(self, folded: bool) -> Node:
        for opening, make in _LOOKS.items():
            if self.take(opening):
                return make(self.rest_of_group(folded, make is Behind), "!" in opening)
        return self.rest_of_group(self.open_group(folded))

    def rest_of_group(self, folded: bool, single: bool = False) -> Node:
        item = self.choice(folded)
        if single and not is_single(item):
            raise self.refuse("a look behind at more than one character")
        if not self.take(")"):
            raise self.refuse("a group without end")
        return item

    def open_group(self, folded: bool) -> bool:
        if self.take("(?i:"):
            return True
        if not self.take("(?:") and self.sees("(?"):
            raise self.refuse(self.pattern[self.at : self.at + 3])
        self.take("(")
        return folded

    def quantified(self, item: Node) -> Node:
        while found := _QUANTIFIER.match(self.pattern, self.at):
            if isinstance(item, Look | Behind | Edge):
                raise self.refuse("a repeated place")
            self.at = found.end()
            low, high = self.bounds(found)
            item = Repeat(item, low, high)
            if self.sees("?"):
                raise self.refuse("a lazy quantifier")
            if found.group()[0] != "{" and self.take("+"):
                item = replace(item, possessive=True)
        return item

    def bounds(self, found: re.Match[str]) -> tuple[int, int]:
        simple = {"?": (0, 1), "*": (0, INFINITE), "+": (1, INFINITE)}
        if found.group() in simple:
            return simple[found.group()]
        low, comma, high = found.groups()
        if not low and not high:
            raise self.refuse("a quantifier without numbers")
        return int(low or 0), int(high) if high else INFINITE if comma else int(low)


_LOOKS: dict[str, type[Look] | type[Behind]] = {"(?!": Look, "(?=": Look, "(?<!": Behind, "(?<=": Behind}


def _single(source: str, folded: bool) -> Node:
    if source[0] == "[" or source == "." or (source[0] == "\\" and source[1] in _SHORTHAND):
        return Set(f"(?i:{source})" if folded else source)
    if folded:
        return Set(f"(?i:{source})")
    return Char(_literal(source))


def _literal(source: str) -> str:
    if source[0] != "\\":
        return source
    if source[1] in "xu":
        return chr(int(source[2:].strip("{}"), 16))
    return {"r": "\r", "n": "\n", "t": "\t", "f": "\f", "v": "\v", "e": "\x1b"}.get(source[1], source[1])
