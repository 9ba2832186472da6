from __future__ import annotations

import pytest

from edgeq.errors import UnsupportedError


def test_every_linear_and_the_tied_embedding_get_formats(llama, after, lines):
    text, (report,) = after(llama, "quantize{bits=w4a8g64,head=w8g32}")
    assert not lines(text, "aten.linear", "aten.embedding")
    assert len(lines(text, "weight='w4g64', act='a8'")) == 7
    assert lines(text, "w8g32") == [
        "%qembedding = edgeq.qembedding(%input_ids, %embed, weight='w8g32') : f32[1, s, 64] @ model.embed_tokens",
        "%qlinear_7 = edgeq.qlinear(%rms_norm_2, %embed, weight='w8g32', act='a8') : f32[1, s, 128] @ lm_head",
    ]
    assert report.changed[-1].module == "lm_head"
    assert report.changed[-1].what == "w8g32 a8"


def test_fp32_keeps_values_and_float_activations(llama, after, lines):
    text, _ = after(llama, "quantize{bits=fp32}")
    assert len(lines(text, "weight='f32', act='a16'")) == 8


def test_position_embeddings_stay(llama, after):
    text = llama.replace("%rms_norm =", "%p = aten.embedding(%embed, %position_ids) : f32[1, s, 64] @ wpe\n%rms_norm =")
    text = text.replace("return", "%sum = aten.add.Tensor(%logits, %logits) : f32[1, s, 128]\nreturn")
    _, (report,) = after(text, "quantize")
    assert [(site.module, site.what) for site in report.declined] == [("wpe", "positions stay in float")]


def test_widths_that_cannot_be_stored_are_listed(after):
    text = (
        "%x = input : f32[1, s, 20]\n%w = weight w : f32[32, 20]\n"
        "%y = aten.linear(%x, %w) : f32[1, s, 32] @ odd.proj\nreturn %y\n"
    )
    with pytest.raises(UnsupportedError, match=r"odd\.proj: .*20"):
        after(text, "quantize")
