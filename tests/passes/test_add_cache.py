from __future__ import annotations

import pytest

from edgeq.errors import UnsupportedError

COUNTS = """\
%input_ids = input : i64[1, s]
%tokens = weight wte.weight : f32[32, 16]
%places = weight wpe.weight : f32[34, 16]
%size = aten.sym_size.int(%input_ids, 1) : size s
%arange = aten.arange(%size) : i64[s]
%e = aten.embedding(%tokens, %input_ids) : f32[1, s, 16] @ wte
%p = aten.embedding(%places, %arange) : f32[s, 16] @ wpe
%add = aten.add.Tensor(%e, %p) : f32[1, s, 16]
%y = edgeq.attention(%add, %add, %add, heads=2, kv_heads=2, scale=0.5, causal=True, left=3) : f32[1, s, 16] @ h.0
return %y
"""


def test_attention_takes_caches(llama, after, lines):
    text, (report,) = after(llama, "add-cache{kv=i8,context=32}")
    assert [line.split(" :")[0] for line in lines(text, "= input")] == [
        f"%{name} = input" for name in ("input_ids", "position_ids", "start", "n_valid", "k_cache_0", "v_cache_0")
    ]
    assert lines(text, "%v_cache_0 = ") == ["%v_cache_0 = input : f32[1, 2, 32, 16]"]
    (attention,) = lines(text, "cached_attention(")
    assert "(%rope, %rope_1, %v, %k_cache_0, %v_cache_0, %start, heads=4, kv_heads=2, scale=0.25, left=-1" in attention
    assert attention.endswith("kv='i8') : f32[1, s, 64] @ model.layers.0.self_attn")
    assert [site.module for site in report.changed] == ["model.layers.0.self_attn"]


def test_positions_that_the_model_counts_become_an_input(after, lines):
    text, _ = after(COUNTS, "add-cache{context=8}")
    assert not lines(text, "arange", "sym_size")
    assert lines(text, "@ wpe") == ["%p = aten.embedding(%places, %position_ids) : f32[1, s, 16] @ wpe"]
    assert "left=3" in lines(text, "cached_attention(")[0]


def test_encoders_are_declined(llama, after):
    text, (report,) = after(llama.replace("causal=True", "causal=False"), "add-cache")
    assert text == llama.replace("causal=True", "causal=False")
    assert [(site.module, site.what) for site in report.declined] == [("model.layers.0.self_attn", "it is not causal")]


def test_half_cacheable_graphs_are_refused_with_every_site(llama, after):
    other = (
        "%extra = edgeq.attention(%rope, %rope_1, %v, heads=4, kv_heads=2, scale=0.25, causal=False)"
        " : f32[1, s, 64] @ odd.one\n%o ="
    )
    with pytest.raises(UnsupportedError, match=r"odd\.one: it is not causal"):
        after(llama.replace("%o =", other).replace("%linear(%attention", "%linear(%extra"), "add-cache")


def test_a_bias_by_distance_is_cut_to_the_context(llama, after, lines):
    biased = llama.replace("%embedding =", "%d = weight distances : f32[4, 64]\n%embedding =")
    biased = biased.replace("%v, heads=4", "%v, None, None, None, None, None, %d, heads=4")
    text, _ = after(biased, "add-cache{context=32}")
    (row,) = lines(text, "aten.slice.Tensor(%d")
    assert row.startswith("%slice_1 = aten.slice.Tensor(%d, 1, 0, 32) : f32[4, 32]")
    assert "%start, %slice_1, heads=4" in lines(text, "cached_attention(")[0]
    with pytest.raises(UnsupportedError, match="known for 64 positions; use --context 64"):
        after(biased, "add-cache{context=80}")
