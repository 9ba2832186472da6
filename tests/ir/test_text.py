from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.errors import UsageError
from edgeq.ir.text import parse, show

SMALL = """\
%input_ids = input : i64[1, s]
%w = weight model.embed.weight : f32[100, 64]
%n = weight model.norm.weight : f32[64]
%e = aten.embedding(%w, %input_ids) : f32[1, s, 64] @ model.embed
%y = edgeq.rms_norm(%e, %n, eps=1e-06) : f32[1, s, 64] @ model.norm
%c = aten.clamp(%y, -inf, 3) : f32[1, s, 64]
%z = aten.cat([%c, %y], 1) : f32[1, 2*s, 64]
%k = aten.to.dtype(%z, f16) : f16[1, 2*s, 64]
%size = aten.sym_size.int(%input_ids, 1) : size s
return (%k, %size)
"""


def test_round_trip_is_the_identity():
    assert show(parse(SMALL)) == SMALL


def test_comments_and_blank_lines_are_skipped():
    assert show(parse("# a graph\n\n" + SMALL)) == SMALL


def test_symbols_keep_their_identity():
    gm = parse("%a = input : f32[s, s1]\n%b = input : f32[s1, s]\nreturn (%a, %b)\n")
    a, b = (node.meta["val"] for node in list(gm.graph.nodes)[:2])
    assert a.shape[0].node.expr == b.shape[1].node.expr
    assert a.shape[0].node.expr != a.shape[1].node.expr


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), st.text("abc_09")), max_size=4))
def test_any_plain_arguments_round_trip(values):
    arguments = ", ".join("inf" if str(v) == "inf" else "-inf" if str(v) == "-inf" else repr(v) for v in values)
    text = f"%x = input : f32[s, 4]\n%y = aten.relu(%x, [{arguments}]) : f32[s, 4]\nreturn %y\n"
    assert show(parse(text)) == text


@pytest.mark.parametrize(
    "text, word",
    [
        ("%x = input : f32[1]\n%y = aten.no_such_op(%x) : f32[1]\nreturn %y", "line 2: .*no_such_op"),
        ("%y = aten.relu(%x) : f32[1]\nreturn %y", "line 1: %x is used before"),
        ("%x = input : f33[1]\nreturn %x", "line 1: 'f33"),
        ("%x = input : f32[1]", "without return"),
        ("%x = input : f32[1]\n%x = input : f32[1]\nreturn %x", "line 2: %x is defined twice"),
        ("hello", "line 1: expected"),
        ("%x = input : f32[1]\nreturn %x\n%z = input : f32[1]", "line 3: nothing may follow"),
        ("%x = input : f32[1]\n%y = aten.add.Tensor(%x, y) : f32[1]\nreturn %y", "'y' means nothing"),
        ("%x = input : f32[1]\n%y = aten.relu(%x : f32[1]\nreturn %y", "line 2: expected"),
    ],
)
def test_bad_text_names_its_line(text, word):
    with pytest.raises(UsageError, match=word):
        parse(text)
