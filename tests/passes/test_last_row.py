from __future__ import annotations

import pytest

from edgeq.errors import UnsupportedError


def test_only_the_norm_and_head_see_one_row(llama, after, lines):
    text, _ = after(llama, "add-cache,last-row")
    assert lines(text, "last_row", "@ model.norm", "@ lm_head") == [
        "%last_row = edgeq.last_row(%add_1, %n_valid) : f32[1, 1, 64] @ model.layers.0",
        "%rms_norm_2 = edgeq.rms_norm(%last_row, %n3, eps=1e-06) : f32[1, 1, 64] @ model.norm",
        "%logits = aten.linear(%rms_norm_2, %embed) : f32[1, 1, 128] @ lm_head",
    ]


def test_through_the_residual_up_to_the_attention(llama, after, lines):
    text, _ = after(llama, "add-cache,last-row{through_residual=true}")
    assert len(lines(text, "edgeq.last_row")) == 2
    assert "f32[1, 1, 64]" in lines(text, "@ model.layers.0.self_attn.o_proj")[0]
    assert "f32[1, 1, 128]" in lines(text, "edgeq.gated")[0]


def test_without_a_cache_there_is_no_row_count(llama, after):
    with pytest.raises(UnsupportedError, match="add-cache before last-row"):
        after(llama, "last-row")
