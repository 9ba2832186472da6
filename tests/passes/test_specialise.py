from __future__ import annotations

import pytest

from edgeq.errors import UnsupportedError


def test_symbols_become_numbers(llama, after, lines):
    text, _ = after(llama, "specialise{rows=5}")
    assert text == llama.replace("[1, s", "[1, 5")


def test_counted_positions_are_folded(after, lines):
    text, (report,) = after(
        "%input_ids = input : i64[1, s]\n%w = weight wpe : f32[8, 16]\n"
        "%size = aten.sym_size.int(%input_ids, 1) : size s\n%arange = aten.arange(%size) : i64[s]\n"
        "%row = aten.unsqueeze(%arange, 0) : i64[1, s]\n%p = aten.embedding(%w, %row) : f32[1, s, 16]\nreturn %p\n",
        "specialise{rows=3}",
    )
    assert lines(text, "const_0 =", "%p =") == [
        "%const_0 = weight const_0 : i64[1, 3]",
        "%p = aten.embedding(%w, %const_0) : f32[1, 3, 16]",
    ]
    assert [site.what for site in report.changed] == ["s = 3", "folded to const_0 [1, 3]"]


def test_two_symbols_are_refused(after):
    with pytest.raises(UnsupportedError, match="more than one symbolic size"):
        after("%a = input : f32[1, s]\n%b = input : f32[1, s1]\nreturn (%a, %b)\n", "specialise")
