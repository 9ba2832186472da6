"""What people write for a size, a percentage, a latency."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.budget.amounts import parse_latency, parse_percent, parse_size, size_text
from edgeq.errors import UsageError


@pytest.mark.parametrize(
    ("text", "size"),
    [("60MB", 60_000_000), ("57.5 MiB", 60_293_120), ("1.2gb", 1_200_000_000), ("800kB", 800_000), ("12345", 12345)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@given(st.integers(1_000_000, 999_990_000))
def test_sizes_are_read_back_as_they_are_printed(size):
    assert abs(parse_size(size_text(size)) - size) <= 0.5e4


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5ms/token", 0.005), ("800us", 0.0008), ("12 ms/run", 0.012), ("200tok/s", 0.005), ("0.25s", 0.25)],
)
def test_latencies(text, seconds):
    assert parse_latency(text) == pytest.approx(seconds)


def test_percentages():
    assert parse_percent("2%") == 0.02 and parse_percent(" .5 % ") == 0.005


@pytest.mark.parametrize("parse", [parse_size, parse_percent, parse_latency])
@pytest.mark.parametrize("text", ["", "soon", "-3MB", "-2%", "0ms", "0MB", "5 parsecs", "1e3", "%"])
def test_what_is_no_amount_is_refused_with_an_example(parse, text):
    with pytest.raises(UsageError, match="; write "):
        parse(text)
