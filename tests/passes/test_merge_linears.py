from __future__ import annotations


def test_qkv_and_gate_up_become_one_linear_each(llama, after, lines):
    text, (report,) = after(llama, "merge-linears")
    assert lines(text, "aten.cat", "_proj,") == [
        "%cat = aten.cat([%q_w, %k_w, %v_w], 0) : f32[128, 64]",
        "%linear = aten.linear(%rms_norm, %cat) : f32[1, s, 128] @ model.layers.0.self_attn.{q_proj,k_proj,v_proj}",
        "%cat_1 = aten.cat([%gate_w, %up_w], 0) : f32[256, 64]",
        "%linear_1 = aten.linear(%rms_norm_1, %cat_1) : f32[1, s, 256] @ model.layers.0.mlp.{gate_proj,up_proj}",
    ]
    assert "%slice_2 = aten.slice.Tensor(%linear, -1, 64, 96) : f32[1, s, 32] @ model.layers.0.self_attn.k_proj" in text
    assert [site.what for site in report.changed] == ["64 + 32 + 32 outputs", "128 + 128 outputs"]


def test_parts_in_another_order_follow_the_consumer(llama, after, lines):
    rows = llama.splitlines()
    up = next(row for row in rows if row.startswith("%up ="))
    rows.remove(up)
    rows.insert(next(i for i, row in enumerate(rows) if row.startswith("%gate =")), up)
    text, _ = after("\n".join(rows), "merge-linears")
    assert "[%gate_w, %up_w]" in lines(text, "%cat_1 =")[0]


def test_slices_of_a_packed_weight_become_it_again(llama, after, lines):
    packed = llama.replace("mlp.gate_proj.weight : f32[128, 64]", "mlp.gate_up.weight : f32[256, 64]")
    packed = "\n".join(row for row in packed.splitlines() if not row.startswith("%up_w ="))
    packed = packed.replace("%gate =", "%a = aten.slice.Tensor(%gate_w, 0, 0, 128) : f32[128, 64]\n%gate =")
    packed = packed.replace("%up =", "%b = aten.slice.Tensor(%gate_w, 0, 128, 256) : f32[128, 64]\n%up =")
    packed = packed.replace("%rms_norm_1, %gate_w", "%rms_norm_1, %a").replace("%up_w", "%b")
    text, _ = after(packed, "merge-linears")
    assert "aten.linear(%rms_norm_1, %gate_w) : f32[1, s, 256]" in text
    assert len(lines(text, "aten.cat")) == 1


def test_a_part_without_bias_gets_zeros(llama, after, lines):
    mixed = llama.replace("%embedding =", "%b = weight k.bias : f32[32]\n%embedding =")
    mixed = mixed.replace("aten.linear(%rms_norm, %k_w)", "aten.linear(%rms_norm, %k_w, %b)")
    text, (report,) = after(mixed, "merge-linears")
    assert [site.what for site in report.changed] == ["64 + 32 + 32 outputs", "128 + 128 outputs"]
    assert lines(text, "= aten.cat(")[1] == "%cat_1 = aten.cat([%zeros_64, %b, %zeros_32], 0) : f32[128]"
    assert lines(text, "= aten.linear(")[0].startswith("%linear = aten.linear(%rms_norm, %cat, %cat_1)")
