"""Progress, tables and JSON."""

from __future__ import annotations

import json
import math

from edgeq.cli import console
from edgeq.cli.progress import Lines, reporting
from edgeq.cli.table import megabytes, table


def test_lines_say_a_stage_once_until_time_passes(capsys):
    now = [0.0]
    lines = Lines(clock=lambda: now[0])
    for done in range(3):
        lines("pack weights", done, 10)
    now[0] = 6.0
    lines("pack weights", 7, 10)
    lines("link", 0, 0)
    expected = ["edgeq: pack weights", "edgeq: pack weights 7/10, about 3 s left", "edgeq: link"]
    assert capsys.readouterr().err.splitlines() == expected


def test_quiet_reports_nothing(capsys):
    console.set_level(console.QUIET)
    try:
        with reporting() as progress:
            progress("pack weights", 1, 2)
    finally:
        console.set_level(console.NORMAL)
    assert capsys.readouterr().err == ""


def test_bars_are_drawn_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(console, "animated", lambda: True)
    with reporting() as progress:
        progress("pack weights", 1, 2)
        progress("link", 0, 0)
    err = capsys.readouterr().err
    assert "pack weights" in err
    assert "link" in err


def test_ci_is_not_animated(monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    assert console.animated()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not console.colour()
    monkeypatch.setenv("CI", "true")
    assert not console.animated()


def test_table_aligns_numbers_right():
    lines = table(("name", "bytes"), [("a", 5), ("long name", 12345)]).splitlines()
    assert lines == ["name        bytes", "a               5", "long name  12,345"]


def test_megabytes():
    assert [megabytes(n) for n in (96, 412_300, 91_300_000, 25.3e9)] == ["96 B", "412 KB", "91.3 MB", "25.30 GB"]


def test_json_has_no_nan(capsys):
    console.print_json({"a": math.nan, "b": [math.inf, 1.5], 3: "é"})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "3": "é"}
