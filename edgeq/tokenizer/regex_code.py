"""Turns parsed patterns into the instructions that `regex.c` runs: (operation, a, b, c), four words each."""

from __future__ import annotations

from edgeq.errors import UnsupportedError
from edgeq.tokenizer.kinds import Kinds
from edgeq.tokenizer.probe import CODES, Mask, np, regex_class
from edgeq.tokenizer.regex_parse import (
    EDGES,
    INFINITE,
    Behind,
    Char,
    Choice,
    Edge,
    Look,
    Node,
    Repeat,
    Sequence,
    Set,
    is_single,
    parse,
    shortest,
)

MATCH, CHAR, SET, LOOP, POSSESSIVE, TRY, JUMP, LOOK, BEHIND, EDGE = range(10)
MAX_COPIES = 16  # of a repeated group


class RegexCode:
    """All programs of a tokenizer, one after the other."""

    def __init__(self, kinds: Kinds) -> None:
        self.kinds = kinds
        self.code: list[list[int]] = []
        self.pattern = ""

    def add(self, pattern: str) -> int:
        """Start of the pattern's program.

        Raises:
            UnsupportedError: a pattern outside the subset; the message names it.
        """
        self.pattern = pattern
        tree = parse(pattern)
        if not shortest(tree):
            raise self._refuse("matches the empty text")
        return self._program(tree)

    def add_runs(self, *masks: Mask) -> int:
        """A program that matches a run of characters of the first mask, else of the second, ..."""
        start, jumps = len(self.code), []
        for mask in masks[:-1]:
            self.code.append([TRY, len(self.code) + 3, 0, 0])
            self.code.append([LOOP, self.kinds.add(mask), 1, INFINITE])
            jumps.append(len(self.code))
            self.code.append([JUMP, 0, 0, 0])
        self.code.append([LOOP, self.kinds.add(masks[-1]), 1, INFINITE])
        for jump in jumps:
            self.code[jump][1] = len(self.code)
        self.code.append([MATCH, 0, 0, 0])
        return start

    def _refuse(self, what: str) -> UnsupportedError:
        return UnsupportedError(f"tokenizer.json: pattern {self.pattern!r} {what}; edgeq's tokenizer cannot run it")

    def _program(self, tree: Node) -> int:
        start = len(self.code)
        self._emit(tree)
        self.code.append([MATCH, 0, 0, 0])
        return start

    def _emit(self, node: Node) -> None:
        if isinstance(node, Char):
            self.code.append([CHAR, ord(node.char), 0, 0])
        elif isinstance(node, Set):
            self.code.append([SET, self._mask(node), 0, 0])
        elif isinstance(node, Sequence):
            for item in node.items:
                self._emit(item)
        elif isinstance(node, Choice):
            self._choice(node)
        elif isinstance(node, Look):
            self._look(node)
        elif isinstance(node, Behind):
            self.code.append([BEHIND, self._mask(node.item), int(node.negative), 0])
        elif isinstance(node, Edge):
            self.code.append([EDGE, EDGES.index(node.name), self._mask(Set(r"\w")), 0])
        else:
            self._repeat(node)

    def _mask(self, node: Node) -> int:
        return self.kinds.add(self._members(node))

    def _members(self, node: Node) -> Mask:
        """Code points of a node that matches one character."""
        if isinstance(node, Set):
            return self._ask(node.source)
        mask = np.zeros(CODES, dtype=bool)
        if isinstance(node, Char):
            mask[ord(node.char)] = True
        elif isinstance(node, Choice):
            mask = np.logical_or.reduce([self._members(item) for item in node.items])
        return mask

    def _ask(self, source: str) -> Mask:
        try:
            return regex_class(source)
        except Exception as error:  # the library raises bare Exception
            raise self._refuse(f"has the class {source!r} ({error})") from None

    def _choice(self, node: Choice) -> None:
        jumps = []
        for item in node.items[:-1]:
            attempt = self._later(TRY)
            self._emit(item)
            jumps.append(self._later(JUMP))
            self.code[attempt][1] = len(self.code)
        self._emit(node.items[-1])
        for jump in jumps:
            self.code[jump][1] = len(self.code)

    def _look(self, node: Look) -> None:
        look = self._later(LOOK)
        self.code[look][2] = int(node.negative)
        self._program(node.item)
        self.code[look][1] = len(self.code)

    def _repeat(self, node: Repeat) -> None:
        if is_single(node.item):
            self.code.append([POSSESSIVE if node.possessive else LOOP, self._mask(node.item), node.low, node.high])
            return
        if node.high > MAX_COPIES or node.possessive:
            raise self._refuse("repeats a group without bound or possessively")
        for _ in range(node.low):
            self._emit(node.item)
        attempts = []
        for _ in range(node.high - node.low):
            attempts.append(self._later(TRY))
            self._emit(node.item)
        for attempt in attempts:
            self.code[attempt][1] = len(self.code)

    def _later(self, operation: int) -> int:
        """An instruction whose target is not known yet."""
        self.code.append([operation, 0, 0, 0])
        return len(self.code) - 1
