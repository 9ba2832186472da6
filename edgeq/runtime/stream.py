"""Tokens become text as they come: characters whole, nothing shown that a stop text may still swallow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

UNFINISHED = "\ufffd"  # what a decoder writes for bytes that are no character yet


class TextStream:
    """Decodes one token at a time.

    A token can end inside a character, and its text can depend on the token before it (a space, a joiner), so texts of
    single tokens cannot simply be joined: the difference between two decodings of a short window is what is new.

    Attributes:
        stopped: a stop text was reached; it and what follows are not shown.
    """

    def __init__(
        self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = (), before: Sequence[int] = ()
    ) -> None:
        """`before`: last tokens of a text that is being continued."""
        self._decode = decode
        self._stop = [text for text in stop if text]
        self._window = list(before)  # tokens shown already that the next ones lean on, then tokens not shown
        self._shown = len(self._window)
        self._held = ""  # may be the beginning of a stop text
        self.stopped = False

    def push(self, token: int) -> str:
        """The text that is certain after one more token."""
        self._window.append(token)
        new = self._new_text()
        if not new or new.endswith(UNFINISHED):
            return ""
        del self._window[: self._shown]
        self._shown = len(self._window)
        return self._release(new)

    def finish(self) -> str:
        """What is left when no more tokens come."""
        if self.stopped:
            return ""
        text = self._release(self._new_text())
        held, self._held = self._held, ""
        return text + held

    def _new_text(self) -> str:
        return self._decode(self._window)[len(self._decode(self._window[: self._shown])) :]

    def _release(self, new: str) -> str:
        if self.stopped:
            return ""
        text = self._held + new
        ends = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        if ends:
            self.stopped, self._held = True, ""
            return text[: min(ends)]
        keep = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    return next(n for n in range(min(len(text), len(stop) - 1), -1, -1) if text.endswith(stop[:n]))
