"""Cross-attention's cache type, and what the passes of decoders do to it."""

from __future__ import annotations

import pytest

from edgeq.errors import UsageError, VerifyError

ENCODER = """\
%input_ids = input : i64[1, 8]
%k_cache = input cross_k_0 : f32[1, 2, 16, 8]
%v_cache = input cross_v_0 : f32[1, 2, 16, 8]
%tokens = weight wte.weight : f32[32, 16]
%e = aten.embedding(%tokens, %input_ids) : f32[1, 8, 16] @ wte
%store_keys = edgeq.store_keys(%e, %e, %k_cache, %v_cache, kv='f32') : () @ layers.0.cross
return (%e,)
"""
DECODER = """\
%input_ids = input : i64[1, s]
%n_keys = input : i32[1]
%k_cache = input cross_k_0 : f32[1, 2, 16, 8]
%v_cache = input cross_v_0 : f32[1, 2, 16, 8]
%tokens = weight wte.weight : f32[32, 16]
%e = aten.embedding(%tokens, %input_ids) : f32[1, s, 16] @ wte
%a = edgeq.attention(%e, %e, %e, heads=2, kv_heads=2, scale=0.5, causal=True) : f32[1, s, 16] @ layers.0.self
%y = edgeq.cross_attention(%a, %k_cache, %v_cache, %n_keys, heads=2, kv_heads=2, scale=0.5) : f32[1, s, 16] @ x
%logits = aten.linear(%y, %tokens) : f32[1, s, 32] @ head
return %logits
"""


def test_both_entries_get_the_type(after, lines):
    text, (report,) = after(ENCODER, "cross-cache{kv=i8}")
    assert lines(text, "store_keys(") == [
        "%store_keys = edgeq.store_keys(%e, %e, %k_cache, %v_cache, kv='i8') : () @ layers.0.cross"
    ]
    assert [site.module for site in report.changed] == ["layers.0.cross"]
    text, _ = after(DECODER, "cross-cache{kv=i8}")
    assert "kv='i8'" in lines(text, "cross_attention(")[0]


def test_a_graph_without_cross_attention_stays(llama, after):
    text, (report,) = after(llama, "cross-cache")
    assert text == llama and not report.changed


def test_passes_of_decoders_keep_cross_attention(after, lines):
    text, _ = after(DECODER, "cross-cache,add-cache{context=32},last-row,merge-linears,quantize{bits=fp32}")
    assert len(lines(text, "edgeq.cross_attention(%cached_attention, %k_cache, %v_cache, %n_keys")) == 1
    assert "%last_row" in lines(text, "edgeq.qlinear(")[0]


def test_unknown_types_and_small_caches_are_refused(after):
    with pytest.raises(UsageError, match="cannot be stored as 'f8'"):
        after(ENCODER, "cross-cache{kv=f8}")
    with pytest.raises(VerifyError, match="holds 4 positions; 8 are written"):
        after(ENCODER.replace("2, 16, 8]", "2, 4, 8]"), "cross-cache")
