"""`python -m edgeq.frontend MODEL`."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeq.frontend.__main__ import main
from edgeq.ir.text import parse


def test_prints_a_graph_that_parses(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tiny_model)]) == 0
    text = capsys.readouterr().out
    assert "edgeq.attention(" in text and "@ model.layers.1.self_attn" in text
    parse(text)


def test_errors_have_their_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["./nowhere"]) == 3
    assert "does not exist" in capsys.readouterr().err
    assert main([]) == 2
