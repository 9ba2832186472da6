"""Graphs as text, shared by the tests of passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeq.ir.text import parse, show
from edgeq.ir.verify import verify
from edgeq.passes.pipeline import parse_pipeline, run_pipeline

GRAPHS = Path(__file__).parent / "graphs"


@pytest.fixture
def llama() -> str:
    """One layer: grouped heads, rotary, gated feed-forward, tied head."""
    return (GRAPHS / "llama.eqir").read_text()


@pytest.fixture
def after():
    """(text, pipeline) -> (text after, reports); the result is verified, types included, and round-trips."""

    def run(text: str, pipeline: str):
        gm = parse(text)
        reports = run_pipeline(gm, parse_pipeline(pipeline))
        verify(gm, types=True)
        changed = show(gm)
        assert show(parse(changed)) == changed
        return changed, reports

    return run


@pytest.fixture
def lines():
    """Text -> lines that hold one of the given words."""

    def pick(text: str, *words: str) -> list[str]:
        return [line for line in text.splitlines() if any(word in line for word in words)]

    return pick
