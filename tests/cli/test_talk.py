"""Answers and chats, with a model whose words are known."""

from __future__ import annotations

import json
from types import SimpleNamespace

from edgeq.cli import console, talk
from edgeq.errors import ContextError
from edgeq.runtime.generate import Generation, Stats
from edgeq.runtime.sampling import Sampling


class Model:
    """Answers with the number of messages it was given; remembers what it was asked."""

    session = SimpleNamespace(info=SimpleNamespace(context=64))

    def __init__(self, reason: str = "eos") -> None:
        self.asked: list = []
        self.reason = reason

    def generate(self, prompt, **options):
        self.asked.append(prompt)
        if self.reason == "too long":
            raise ContextError("the prompt has 65 tokens, the context holds 64")
        stats = Stats(10, 2, 5, 0.5, 2.0, 0.25, self.reason)
        return Generation(iter(["I see ", str(len(prompt))]), [1], stats)


STYLE = talk.Style(Sampling(), system="Be brief.")


def type_lines(monkeypatch, *lines):
    waiting = iter(lines)

    def read(_prompt):
        line = next(waiting, None)
        if line is None:
            raise EOFError
        return line

    monkeypatch.setattr("builtins.input", read)


def test_answer_goes_to_stdout_and_speed_to_stderr(capsys):
    talk.answer(Model(), "Hi", STYLE)
    out, err = capsys.readouterr()
    assert out == "I see 2\n"
    assert "8 prompt tokens at 16 tok/s" in err
    assert "5 new at 2.0 tok/s" in err
    assert "first after 250 ms" in err


def test_an_answer_as_json(capsys):
    talk.answer_json(Model(), "Hi", STYLE)
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert (report["text"], report["reason"], report["new_tokens"]) == ("I see 2", "eos", 5)
    assert err == ""


def test_raw_prompts_are_passed_as_they_are():
    model = Model()
    talk.answer(model, "Once upon", talk.Style(Sampling(), raw=True))
    assert model.asked == ["Once upon"]


def test_the_context_s_end_is_said(capsys):
    talk.answer(Model("context"), "Hi", STYLE)
    assert "the context of 64 tokens is full" in capsys.readouterr().err


def test_quiet_prints_the_answer_alone(capsys):
    console.set_level(console.QUIET)
    try:
        talk.answer(Model("context"), "Hi", STYLE)
    finally:
        console.set_level(console.NORMAL)
    assert capsys.readouterr() == ("I see 2\n", "")


def test_a_chat_remembers_and_clears(monkeypatch):
    model = Model()
    type_lines(monkeypatch, "one", "", "two", "/clear", "three", "/exit", "never")
    talk.chat(model, STYLE)
    system, one = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "one"}
    assert model.asked[0] == [system, one]
    assert [m["content"] for m in model.asked[1]] == ["Be brief.", "one", "I see 2", "two"]
    assert [m["content"] for m in model.asked[2]] == ["Be brief.", "three"]
    assert len(model.asked) == 3


def test_a_message_without_room_is_dropped_and_the_chat_goes_on(monkeypatch, capsys):
    model = Model("too long")
    type_lines(monkeypatch, "long", "again")
    talk.chat(model, STYLE)
    assert [m["content"] for m in model.asked[1]] == ["Be brief.", "again"]
    assert "/clear begins anew" in capsys.readouterr().err


def test_ctrl_c_stops_an_answer_not_the_chat(monkeypatch):
    model = Model()
    plain = model.generate

    def interrupted(prompt, **options):
        result = plain(prompt, **options)
        if len(model.asked) == 1:
            raise KeyboardInterrupt
        return result

    model.generate = interrupted
    type_lines(monkeypatch, "one", "two")
    talk.chat(model, STYLE)
    assert [m["content"] for m in model.asked[1]] == ["Be brief.", "two"]
