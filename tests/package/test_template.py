"""Chat templates as segments: equal to Jinja on odd conversations, or refused with a reason."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from templates import CHATML, CHATML_DEFAULT_SYSTEM, GEMMA, LLAMA2, LLAMA3_DATED, PUBLISHED, SWITCHED, THINKING, TOKENS

from edgeq.errors import UnsupportedError
from edgeq.package.conversation import DATE, SYSTEM, Conversation
from edgeq.package.template import Template, conversation_of

NOON = datetime(2030, 1, 2, 12)
SEGMENTED = {name: source for name, source in PUBLISHED.items() if source is not LLAMA2}
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", " ", " pad \n", "<|im_end|>", "</s>", "[/INST]", "{{ 1 }}", "\u3000wide\x1c", "<think>"]),
)


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[Template, Conversation]]:
    templates = {name: Template(source, TOKENS) for name, source in SEGMENTED.items()}
    return {name: (template, conversation_of(template)) for name, template in templates.items()}


@pytest.mark.parametrize("name", SEGMENTED)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(talk=st.lists(TEXTS, min_size=1, max_size=9).filter(lambda t: len(t) % 2), system=TEXTS)
def test_segments_render_as_jinja_does(found, name: str, talk: list[str], system: str) -> None:
    template, conversation = found[name]
    if conversation.system is None:
        system = ""
    assert conversation.render(talk, system, NOON) == template.render(talk, system, NOON.strftime)


def test_the_system_message_has_its_place() -> None:
    conversation = conversation_of(Template(CHATML_DEFAULT_SYSTEM, TOKENS))
    assert conversation.bare and conversation.system
    assert "You are a helpful assistant." in conversation.bare.before["only"]
    assert conversation.system.before["only"] == f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n"
    assert conversation_of(Template(GEMMA, TOKENS)).system is None  # the template refuses one


def test_todays_date_stays_a_format() -> None:
    conversation = conversation_of(Template(LLAMA3_DATED, TOKENS))
    assert conversation.bare and f"{DATE}%d %b %Y{DATE}" in conversation.bare.before["first"]
    assert "Today Date: 02 Jan 2030" in conversation.render(["a"], now=NOON)


def test_thoughts_of_earlier_answers_are_cut() -> None:
    conversation = conversation_of(Template(THINKING, TOKENS))
    assert conversation.content["assistant"].after == "</think>"
    assert "secret" not in conversation.render(["q", "<think>secret</think>\n\nyes", "q"])
    assert conversation.content["user"].refused == ("<tool_response>",)  # it changes which question is the last


def test_words_that_switch_the_template_are_refused_in_contents() -> None:
    conversation = conversation_of(Template(SWITCHED, TOKENS))
    assert conversation.content["system"].refused == ("/no_think",)
    assert conversation.content["user"].refused == ()


REFUSED = {
    "changes the text": (LLAMA2, "it changes the text of the user"),
    "upper case": (CHATML.replace("message.content", "message.content | upper"), "0 times"),
    "twice": (CHATML.replace("message.content", "message.content + message.content"), "2 times"),
    "numbered": ("{% for m in messages %}{{ loop.index ~ m.content }}{% endfor %}", "changes with its number"),
    "never": ("{{ raise_exception('no') }}", "refuses a plain conversation"),
    "length": (
        CHATML.replace("message.content +", "message.content + ('!' if message.content | length > 30 else '') +"),
        "comes out differently",
    ),
    "control characters": ("\x01" + CHATML, "control characters"),
}  # fmt: skip


@pytest.mark.parametrize(("source", "why"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_segments_is_refused(source: str, why: str) -> None:
    with pytest.raises(UnsupportedError, match=why):
        conversation_of(Template(source, TOKENS))
