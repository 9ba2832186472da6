"""Tokens, chat templates, streaming."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import CHAT_TEMPLATE, SPECIAL, write_byte_tokenizer

from edgeq.errors import ArtifactError, UsageError
from edgeq.runtime.chat import render
from edgeq.runtime.stream import TextStream
from edgeq.runtime.tokens import Tokenizer

MESSAGES = [{"role": "user", "content": "Hi <b> & \u00e9"}, {"role": "assistant", "content": "Yes?"}]
HARD = """{%- set ns = namespace(n=0) -%}
{{ bos_token }}{% for m in messages %}
    {% if loop.index0 > 9 %}{% break %}{% endif %}
  {% set ns.n = ns.n + 1 %}
[{{ ns.n }} {{ m.role | upper }}] {{ m | tojson }} {% generation %}{{ m['content'].strip() }}{% endgeneration %}
{% endfor %}{% if tools is not none %}tools{% endif %}
{% if add_generation_prompt %}>>{% endif %}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_byte_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer(folder)


def test_text_to_tokens_and_back(tokenizer: Tokenizer):
    ids = tokenizer.encode("caf\u00e9 <|im_end|>")
    assert len(ids) == 7
    assert tokenizer.decode(ids) == "caf\u00e9 "
    assert tokenizer.decode(ids, skip_special=False) == "caf\u00e9 <|im_end|>"


@pytest.mark.parametrize("template", [CHAT_TEMPLATE, HARD])
@pytest.mark.parametrize("answer", [True, False])
def test_templates_render_as_hugging_face_renders_them(folder: Path, tokenizer: Tokenizer, template: str, answer: bool):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        MESSAGES, chat_template=template, add_generation_prompt=answer, tokenize=False
    )
    assert render(template, MESSAGES, tokenizer.special_tokens, answer) == theirs


def test_a_conversation_becomes_special_tokens(tokenizer: Tokenizer):
    ids = tokenizer.encode_chat(MESSAGES)
    assert ids.count(257) == 2
    assert ids.count(258) == 3
    assert tokenizer.decode(ids, skip_special=False).endswith("<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('roles must alternate') }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{% if %}",
        "{{ 1 + messages }}",
    ],
)
def test_templates_that_refuse_or_misbehave(template: str):
    with pytest.raises(UsageError, match="chat template"):
        render(template, MESSAGES, {})


def test_template_file_wins_and_named_ones_have_a_default(folder: Path, tmp_path: Path):
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": named}))
    assert Tokenizer(tmp_path).chat_template == "yes"
    (tmp_path / "chat_template.jinja").write_text("file")
    assert Tokenizer(tmp_path).chat_template == "file"


def test_no_template_is_said(folder: Path, tmp_path: Path):
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    with pytest.raises(UsageError, match="no chat template"):
        Tokenizer(tmp_path).encode_chat(MESSAGES)


def test_stop_tokens_come_from_every_file(folder: Path, tmp_path: Path):
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    config = {"eos_token": {"content": SPECIAL[1], "lstrip": False}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [5, 256]}))
    tokenizer = Tokenizer(tmp_path)
    assert tokenizer.stop_tokens == {5, 256, 257}
    assert tokenizer.special_tokens == {"eos_token": SPECIAL[1]}


def test_a_missing_or_broken_tokenizer(tmp_path: Path):
    with pytest.raises(ArtifactError, match="no tokenizer"):
        Tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ArtifactError, match="cannot be read"):
        Tokenizer(tmp_path)


@given(text=st.text(max_size=40))
def test_streamed_pieces_are_the_text(tokenizer: Tokenizer, text: str):
    ids = tokenizer.encode(text)
    stream = TextStream(tokenizer.decode)
    pieces = [stream.push(i) for i in ids]
    assert "".join(pieces) + stream.finish() == tokenizer.decode(ids)
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in pieces)


def test_half_a_character_is_shown_only_at_the_end(tokenizer: Tokenizer):
    stream = TextStream(tokenizer.decode)
    assert [stream.push(i) for i in tokenizer.encode("a\u20ac")[:-1]] == ["a", "", ""]
    assert stream.finish() == "\ufffd"


@given(text=st.text("ab", max_size=12), stops=st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_stop_texts_are_never_shown(tokenizer: Tokenizer, text: str, stops: list[str]):
    stream = TextStream(tokenizer.decode, stops)
    shown = ""
    for i in tokenizer.encode(text):
        shown += stream.push(i)
        if stream.stopped:
            break
    stopped = stream.stopped
    shown += stream.finish()
    ends = [i for i in range(len(text) + 1) for s in stops if text[:i].endswith(s)]
    assert stopped == bool(ends)
    if not ends:
        assert shown == text
    else:
        seen = text[: min(ends)]  # the first moment at which a stop text is complete
        assert shown == seen[: min(at for s in stops if (at := seen.find(s)) >= 0)]


def test_a_continued_text_leans_on_its_prompt():
    from tokenizers import Tokenizer as Fast
    from tokenizers import decoders, models

    fast = Fast(models.WordLevel({"\u2581Once": 0, "\u2581upon": 1, "<unk>": 2}, unk_token="<unk>"))
    fast.decoder = decoders.Metaspace()
    assert TextStream(fast.decode).push(1) == "upon"
    assert TextStream(fast.decode, before=[0]).push(1) == " upon"
