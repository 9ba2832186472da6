"""Chat templates as segments: equal to Jinja on odd conversations, or refused with a reason."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from templates import (
    CHATML,
    CHATML_DEFAULT_SYSTEM,
    GEMMA,
    LAST_THOUGHTS,
    LLAMA2,
    LLAMA3_DATED,
    PUBLISHED,
    SWITCHED,
    THINKING,
    TOKENS,
    TRIMMED_THOUGHTS,
)

from edgeq.errors import UnsupportedError
from edgeq.package.conversation import DATE, SYSTEM, Content, Conversation, Segments, voice
from edgeq.package.segments import conversation_of
from edgeq.package.template import Template

NOON = datetime(2030, 1, 2, 12)
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", " ", " pad \n", "<|im_end|>", "</s>", "[/INST]", "{{ 1 }}", "\u3000wide\x1c", "<think>"]),
)


def bare(source: str) -> Segments:
    """The segments without a system message."""
    segments = conversation_of(Template(source, TOKENS)).bare
    assert segments is not None
    return segments


def takes(segments: Segments, talk: list[str], system: str) -> bool:
    """Whether a program may render this conversation."""
    said = [(voice(i, len(talk)), text) for i, text in enumerate(talk)] + [("system", system)] * bool(system)
    return all(segments.content[who].takes(text) for who, text in said)


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[Template, Conversation]]:
    templates = {name: Template(source, TOKENS) for name, source in PUBLISHED.items()}
    return {name: (template, conversation_of(template)) for name, template in templates.items()}


@pytest.mark.parametrize("name", PUBLISHED)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(talk=st.lists(TEXTS, min_size=1, max_size=9).filter(lambda t: len(t) % 2), system=TEXTS)
def test_segments_render_as_jinja_does(found, name: str, talk: list[str], system: str) -> None:
    template, conversation = found[name]
    segments = conversation.system if system else conversation.bare
    if segments is None:
        segments, system = conversation.bare, ""
    assert segments is not None
    if takes(segments, talk, system):
        assert segments.render(talk, system, NOON) == template.render(talk, system, NOON.strftime)


def test_the_system_message_has_its_place() -> None:
    conversation = conversation_of(Template(CHATML_DEFAULT_SYSTEM, TOKENS))
    assert conversation.bare and conversation.system
    assert "You are a helpful assistant." in conversation.bare.before["only"]
    assert conversation.system.before["only"] == f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n"
    assert conversation_of(Template(GEMMA, TOKENS)).system is None  # the template refuses one


def test_todays_date_stays_a_format() -> None:
    conversation = conversation_of(Template(LLAMA3_DATED, TOKENS))
    assert conversation.bare and f"{DATE}%d %b %Y{DATE}" in conversation.bare.before["first"]
    assert "Today Date: 02 Jan 2030" in conversation.bare.render(["a"], now=NOON)


def test_thoughts_of_earlier_answers_are_cut() -> None:
    segments = bare(THINKING)
    assert segments.content["assistant"] == segments.content["earlier"] == Content(after="</think>", cut="newlines")
    assert "secret" not in segments.render(["q", "<think>secret</think>\n\nyes", "q"])
    assert segments.content["user"].refused == ("<tool_response>",)  # it changes which question is the last


def test_voices_are_told_apart() -> None:
    segments = bare(LAST_THOUGHTS)
    assert segments.content["earlier"] == Content(after="</think>", cut="both")
    assert segments.content["assistant"] == Content()
    found = conversation_of(Template(LLAMA2, TOKENS))
    assert found.bare and found.bare.content["first"].strip == "both"
    assert found.system and found.system.content["first"].strip == "right"  # the system message stands before it


def test_messages_of_nothing_are_refused_where_they_matter() -> None:
    content = bare(TRIMMED_THOUGHTS).content["assistant"]
    assert content == Content(strip="both", after="</think>", cut="newlines", filled=True)
    assert not content.takes(" \n") and not content.takes("thoughts</think>\n") and content.takes("a</think>b")
    assert bare(CHATML).content["assistant"].takes("")


def test_words_that_switch_the_template_are_refused_in_contents() -> None:
    found = conversation_of(Template(SWITCHED, TOKENS))
    assert found.system and found.system.content["system"].refused == ("/no_think",)
    assert found.system.content["user"].refused == ()


REFUSED = {
    "changes the text": (CHATML.replace("message.content", "message.content.replace(' ', '')"), "the text of the user"),
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
