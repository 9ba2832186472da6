"""How long a stage still takes: by its own rate, counted down between reports, said in two digits."""

from __future__ import annotations

import math

import pytest

from edgeq.cli import console
from edgeq.cli.progress import Lines, reporting
from edgeq.cli.time_left import TimeLeft, rounded


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_is_of_what_was_done_since_the_first_report():
    clock = Clock()
    left = TimeLeft(clock)
    left.report(60, 100)  # a resumed stage: 60 were done before
    assert left.words() == ""
    clock.now += 20
    left.report(70, 100)
    assert left.seconds() == pytest.approx(60) and left.words() == "about 60 s left"
    clock.now += 25
    assert left.words() == "about 35 s left"
    clock.now += 100
    assert left.seconds() == 0


def test_nothing_is_said_too_early_without_a_total_or_at_the_end():
    clock = Clock()
    left = TimeLeft(clock)
    left.report(0, 10)
    clock.now += 1
    left.report(5, 10)
    assert math.isnan(left.seconds())
    clock.now += 9
    left.report(6, 0)
    assert left.words() == ""
    left.report(10, 10)
    assert left.words() == ""


@pytest.mark.parametrize(
    "seconds, words",
    [(7.2, "8 s"), (41, "45 s"), (89, "90 s"), (91, "2 min"), (700, "12 min"), (6000, "1.7 h"), (1e5, "28 h")],
)
def test_words_have_two_digits(seconds, words):
    assert rounded(seconds) == words


def test_lines_say_it(capsys):
    clock = Clock()
    lines = Lines(clock=clock)
    for done in range(4):
        lines("smooth", done, 61)
        clock.now += 6
    lines("pack weights", 0, 0)
    assert capsys.readouterr().err.splitlines() == [
        "edgeq: smooth",
        "edgeq: smooth 1/61, about 6 min left",
        "edgeq: smooth 2/61, about 6 min left",
        "edgeq: smooth 3/61, about 6 min left",
        "edgeq: pack weights",
    ]


def test_bars_say_it(monkeypatch):
    monkeypatch.setattr(console, "animated", lambda: True)
    monkeypatch.setattr(TimeLeft, "words", lambda self: "about 40 s left")
    with reporting() as progress:
        progress("smooth", 1, 61)
        task = progress.bars.tasks[0]
        assert str(progress.bars.columns[-1](task)) == "about 40 s left"
        progress("pack weights", 0, 0)
        assert str(progress.bars.columns[-1](task)) == ""  # the stage has ended
