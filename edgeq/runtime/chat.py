"""Chat templates: the Jinja text that comes with a model, rendered in a sandbox exactly as Hugging Face renders it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from edgeq.errors import UsageError

Message = Mapping[str, Any]


def render(template: str, messages: Sequence[Message], special_tokens: Mapping[str, str], answer: bool = True) -> str:
    """The text of a conversation.

    Args:
        template: Jinja source, as in `chat_template.jinja`.
        messages: `{"role": ..., "content": ...}` in order.
        special_tokens: `bos_token`, `eos_token`, ... as the template names them.
        answer: end where the model's answer begins.

    Raises:
        UsageError: the template is broken or refuses these messages (roles that do not alternate, ...).
    """
    import jinja2

    try:
        return _compile(template).render(
            messages=[dict(m) for m in messages],
            tools=None,
            documents=None,
            add_generation_prompt=answer,
            **special_tokens,
        )
    except (jinja2.TemplateError, TypeError, ValueError) as error:
        raise UsageError(f"the model's chat template cannot render these messages: {error}") from error


@lru_cache(maxsize=8)
def _compile(template: str) -> Any:
    import jinja2
    import jinja2.ext
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(jinja2.ext.Extension):
        """`{% generation %}` marks the assistant's words for training; here it changes nothing."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.Scope(body).set_lineno(line)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {"raise_exception": _refuse, "strftime_now": _now}
    return environment.from_string(template)


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Jinja's own filter escapes HTML, which models never saw."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> None:
    import jinja2

    raise jinja2.TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().strftime(form)
