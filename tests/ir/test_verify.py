from __future__ import annotations

import pytest

from edgeq.errors import VerifyError
from edgeq.ir.text import parse
from edgeq.ir.verify import unsupported, verify


def graph(*lines: str):
    last = lines[-1].split(" =")[0]
    return parse("\n".join(["%x = input : f32[1, s, 64]", *lines, f"return {last}"]))


def test_all_violations_are_listed_at_once():
    gm = graph(
        "%w = weight w : f32[32, 48]",
        "%v = weight v : f32[63]",
        "%a = aten.linear(%x, %w) : f32[1, s, 32] @ layer.a",
        "%b = edgeq.rms_norm(%x, %v, eps=1e-06) : f32[1, s, 64] @ layer.b",
        "%c = aten.softmax.int(%b, -1) : f32[1, s, 64] @ layer.c",
    )
    with pytest.raises(VerifyError) as caught:
        verify(gm)
    message = str(caught.value)
    assert message.startswith("3 violation(s)")
    assert "aten.linear at layer.a: x has 64 channels, w takes 48" in message
    assert "edgeq.rms_norm at layer.b: w %v has shape ['63'], expected [64]" in message
    assert "aten.softmax at layer.c: aten.softmax is outside the dialect" in message
    assert unsupported(gm) == [("aten.softmax", "layer.c")]


ATTENTION = (
    "%y = edgeq.attention(%x, %x, %x, heads={}, kv_heads={}, scale=1.0, causal=True, left={}) : f32[1, s, 64] @ at"
)
QLINEAR = "%w = weight w : f32[64, 64]\n%y = edgeq.qlinear(%x, %w, weight={}, act='a8') : f32[1, s, 64]"


@pytest.mark.parametrize(
    "line, word",
    [
        (ATTENTION.format(4, 3, -1), "4 query heads do not divide"),
        (ATTENTION.format(6, 6, -1), "not a multiple of 6 heads"),
        (ATTENTION.format(8, 4, -1), "q and k differ in channels a head"),
        (ATTENTION.format(4, 4, -2), "out of range"),
        ("%y = aten.linear(%x, %x) : f32[1, s, s]", "must be a weight"),
        ("%y = aten.add.Tensor(%x, %x, alpha=2) : f32[1, s, 64]", "alpha = 2"),
        ("%y = aten.slice.Tensor(%x, 1, 0, 1) : f32[1, 1, 64]", "only the last axis"),
        ("%y = edgeq.gated(%x, %x, act='swish') : f32[1, s, 64]", "act = 'swish'"),
        ("%y = aten.arange(4, dtype=f32) : f32[4]", "only integer positions"),
        ("%b = weight b : f32[63]\n%y = edgeq.rms_norm(%x, None, %b, eps=0.1) : f32[1, s, 64]", "b %b has shape"),
        (QLINEAR.format("'w5'"), "w5"),
        (QLINEAR.format("'w8'").replace("'a8'", "'a8s'"), "a8s takes one"),
        (QLINEAR.format("'w8'").replace("weight=", "None, %w, weight="), "x_scale"),
        ("%s = weight s : f32[2]\n%y = edgeq.fake_quant(%x, %s) : f32[1, s, 64]", "expected \\[1\\]"),
        ("%s = weight s : f32[1]\n%y = edgeq.fake_quant(%x, %s, bits=9) : f32[1, s, 64]", "9 bits"),
        (QLINEAR.format("'f32'"), "expected a16"),
    ],
)
def test_rules(line, word):
    with pytest.raises(VerifyError, match=word):
        verify(graph(*line.split("\n")))


def test_types_must_be_what_the_ops_give():
    gm = graph("%y = aten.relu(%x) : f32[1, s, 32]")
    verify(gm)
    with pytest.raises(VerifyError, match=r"is typed f32\[1, s, 32\], gives f32\[1, s, 64\]"):
        verify(gm, types=True)


CACHED = """\
%input_ids = input : i64[1, s]
%start = input : i64[1]
%k_cache_0 = input : f32[1, 2, 8, {}]
%v_cache_0 = input : f32[1, 2, 8, 8]
%w = weight wpe : f32[8, 16]
%e = weight wte : f32[9, 16]
%size = aten.sym_size.int(%input_ids, 1) : size s
%arange = aten.arange(%size) : i64[s]
%p = aten.embedding(%w, {}) : f32[{}s, 16] @ wpe
%t = aten.embedding(%e, %input_ids) : f32[1, s, 16]
%y = edgeq.cached_attention(%t, %t, %t, %k_cache_0, %v_cache_0, %start, heads=2, kv_heads=2, scale=1.0) : f32[1, s, 16]
return (%y, %p)
"""


def test_frozen_positions_and_wrong_caches_are_found():
    verify(parse(CACHED.format(8, "%input_ids", "1, ").replace("%arange = aten.arange(%size) : i64[s]\n", "")))
    with pytest.raises(VerifyError) as caught:
        verify(parse(CACHED.format(4, "%arange", "")))
    assert "aten.embedding at wpe: lies on the token axis but depends on no input" in str(caught.value)
    assert "k_cache %k_cache_0 has shape ['1', '2', '8', '4'], expected [B, 2, L, 8]" in str(caught.value)
