"""A Jinja chat template as something to ask: what does it make of a conversation, which texts does it look for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, cast

from edgeq.errors import UnsupportedError
from edgeq.package.conversation import Talk
from edgeq.runtime import chat

Now = Callable[[str], str]
NOON = datetime(2031, 5, 7, 12)  # a day whose parts all differ
MOST_CONSTANTS = 64


class Template:
    """A model's chat template with its special tokens, rendered as `edgeq run` renders it."""

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        self._source, self._special = source, special_tokens

    def render(self, talk: Talk, system: str = "", now: Now = NOON.strftime) -> str:
        """The text of a conversation up to where the answer begins; raises UsageError where the template refuses it."""
        opening = [{"role": "system", "content": system}] if system else []
        said = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(talk)]
        names = cast(Mapping[str, str], {**self._special, "strftime_now": now})
        return chat.render(self._source, [*opening, *said], names)

    @cached_property
    def compared(self) -> list[str]:
        """Texts that it may look for in a message: string constants in comparisons, and arguments of calls."""
        import jinja2.nodes as nodes

        found = self._tree.find_all((nodes.Compare, nodes.Call, nodes.Filter))
        return _strings(operand for node in found for operand in _operands(node))

    @cached_property
    def constants(self) -> list[str]:
        """All its string constants, `compared` first."""
        import jinja2.nodes as nodes

        return list(dict.fromkeys([*self.compared, *_strings(self._tree.find_all(nodes.Const))]))

    @cached_property
    def _tree(self) -> Any:
        return chat._compile(self._source).environment.parse(self._source)


def _operands(node: Any) -> list[Any]:
    return [node.expr, *(operand.expr for operand in node.ops)] if hasattr(node, "ops") else list(node.args)


def _strings(found: Iterable[Any]) -> list[str]:
    """Values of constants, shortest first, and only so many: a template is not a book."""
    values = {getattr(node, "value", None) for node in found}
    texts = [value for value in values if isinstance(value, str) and value.strip()]
    return sorted(texts, key=lambda text: (len(text), text))[:MOST_CONSTANTS]


def beyond(what: str) -> UnsupportedError:
    """The error for a template that does `what`, which segments cannot say."""
    return UnsupportedError(
        f"the chat template does more than put texts around messages, which a packaged program cannot: {what}. "
        "`edgeq run` and the C API have no such limit"
    )
