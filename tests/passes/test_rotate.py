from __future__ import annotations

import float64
import pytest
import torch

from edgeq.errors import UsageError
from edgeq.ir.graph import calls, op
from edgeq.ir.text import parse, show
from edgeq.passes.pipeline import parse_pipeline
from edgeq.passes.rotate import Rotate

ROTATED = [  # models whose residual stream can be rotated: RMS and layer norms, parallel residuals, multipliers
    "llama", "llama_tied_biased", "qwen2", "qwen3", "gemma", "granite", "phi", "phi3", "gpt_neox", "gpt2", "opt",
    "vit",
]  # fmt: skip
POST_LN = "a norm writes the residual (post-LN)"
REFUSED = {  # model -> what its report must say of a residual stream
    "gemma3": POST_LN, "bert": POST_LN, "detr": POST_LN, "bart": POST_LN,
    "sam": "a linear reads it with its mean", "modernbert": POST_LN,
}  # fmt: skip


def streams(reports: list, kind: str) -> list[str]:
    return [s.what for r in reports for s in getattr(r, kind) if s.module.startswith("residual")]


@pytest.mark.parametrize("name", ROTATED)
def test_every_rotation_is_exact(name: str):
    reports = float64.float64_equal(name, "rotate{r4=true,seed=3}")
    assert len(streams(reports, "changed")) == 1 and not streams(reports, "declined")
    what = [s.what for r in reports for s in r.changed]
    assert sum("values of" in one for one in what) == 2
    assert sum("at run time" in one for one in what) == 2


@pytest.mark.parametrize("name", REFUSED)
def test_other_residuals_are_refused_with_the_reason_and_the_rest_is_exact(name: str):
    reports = float64.float64_equal(name, "rotate{r4=true}")
    assert not streams(reports, "changed")
    assert any(REFUSED[name] in reason for reason in streams(reports, "declined"))
    assert any("values of" in s.what for r in reports for s in r.changed)


@pytest.mark.parametrize("pipeline", ["gamma-migration,rotate,rotate{seed=1}", "rotate{r4=true},merge-linears"])
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_it_composes(name: str, pipeline: str):
    float64.float64_equal(name, pipeline)


def test_a_second_run_time_rotation_is_refused():
    reports = float64.float64_equal("llama", "rotate{r4=true},rotate{r4=true}")
    assert [s.what for s in reports[1].declined] == ["it is rotated already"] * 2


def test_tied_embeddings_say_what_it_costs():
    reports = float64.float64_equal("gpt2", "rotate")
    assert "transformer.wte.weight, also the head, becomes two: 6400 more weights" in streams(reports, "changed")[0]


def test_seeds_give_other_signs_and_equal_seeds_the_same():
    def signs(seed: int) -> torch.Tensor:
        gm = float64.build("llama").graphs["decode"]
        Rotate(seed=seed)(gm)
        return dict(gm.named_buffers())["signs_0"]

    assert torch.equal(signs(0), signs(0)) and not torch.equal(signs(0), signs(1))
    assert set(signs(0).tolist()) == {-1.0, 1.0}


def test_both_halves_of_a_run_time_rotation_stand_or_fall_together():
    """Without either half the model is another one: the op and the rotated weight come from one call."""
    model = float64.build("llama")
    before = model.outputs()
    gm = model.graphs["decode"]
    Rotate(r1=False, r2=False, r4=True)(gm)
    float64.assert_equal(before, model.outputs())
    online = [node for node in calls(gm, "edgeq.hadamard") if op(node.args[0]) == "edgeq.gated"]
    folded = [user.args[1] for node in online for user in node.users]
    assert len(online) == len(folded) == 2 and all(op(weight) == "edgeq.hadamard" for weight in folded)
    for half in (online[0], folded[0]):
        users = list(half.users)
        half.replace_all_uses_with(half.args[0])
        with pytest.raises(AssertionError):
            float64.assert_equal(before, model.outputs())
        for user in users:
            user.replace_input_with(half.args[0], half)
        float64.assert_equal(before, model.outputs())


def test_it_stands_before_add_cache():
    gm = float64.build("llama").graphs["decode"]
    for step in parse_pipeline("add-cache{context=64}"):
        step(gm)
    with pytest.raises(UsageError, match="before add-cache"):
        Rotate()(gm)


HEAD = """%input_ids = input : i64[1, s]
%e = weight e : f32[128, 16]
%g = weight g : f32[16]
%b = weight b : f32[16]
%wv = weight wv : f32[16, 16]
%wo = weight wo : f32[16, 16]
%bo = weight bo : f32[16]
%h = aten.embedding(%e, %input_ids) : f32[1, s, 16]
"""
R1_BEFORE = HEAD + """%n = aten.layer_norm(%h, [16], %g, %b, 1e-05) : f32[1, s, 16] @ norm
%v = aten.linear(%n, %wv) : f32[1, s, 16] @ v
%o = aten.linear(%v, %wo, %bo) : f32[1, s, 16] @ o
%r = aten.add.Tensor(%h, %o) : f32[1, s, 16] @ layer
%m = aten.layer_norm(%r, [16], %g, %b, 1e-05) : f32[1, s, 16] @ last
%y = aten.linear(%m, %e) : f32[1, s, 128] @ head
return (%y,)
"""
R4_BEFORE = """%x = input : f32[1, s, 16]
%w1 = weight w1 : f32[32, 16]
%w2 = weight w2 : f32[16, 32]
%a = aten.linear(%x, %w1) : f32[1, s, 32] @ fc1
%r = aten.relu(%a) : f32[1, s, 32] @ act
%y = aten.linear(%r, %w2) : f32[1, s, 16] @ fc2
return (%y,)
"""
R4_AFTER = """%x = input : f32[1, s, 16]
%w1 = weight w1 : f32[32, 16]
%w2 = weight w2 : f32[16, 32]
%a = aten.linear(%x, %w1) : f32[1, s, 32] @ fc1
%r = aten.relu(%a) : f32[1, s, 32] @ act
%hadamard = edgeq.hadamard(%r, size=32) : f32[1, s, 32] @ act
%hadamard_1 = edgeq.hadamard(%w2, size=32) : f32[16, 32]
%y = aten.linear(%hadamard, %hadamard_1) : f32[1, s, 16] @ fc2
return (%y,)
"""
R2_BEFORE = """%x = input : f32[1, s, 16]
%wq = weight wq : f32[16, 16]
%wv = weight wv : f32[8, 16]
%bv = weight bv : f32[8]
%wo = weight wo : f32[16, 16]
%q = aten.linear(%x, %wq) : f32[1, s, 16] @ q
%k = aten.linear(%x, %wv) : f32[1, s, 8] @ k
%v = aten.linear(%x, %wv, %bv) : f32[1, s, 8] @ v
%a = edgeq.attention(%q, %k, %v, heads=2, kv_heads=1, scale=0.5, causal=True) : f32[1, s, 16] @ attn
%o = aten.linear(%a, %wo) : f32[1, s, 16] @ o
return (%o,)
"""
R2_AFTER = """%x = input : f32[1, s, 16]
%wq = weight wq : f32[16, 16]
%wv = weight wv : f32[8, 16]
%bv = weight bv : f32[8]
%wo = weight wo : f32[16, 16]
%signs_0 = weight signs_0 : f32[8]
%signs_1 = weight signs_1 : f32[16]
%q = aten.linear(%x, %wq) : f32[1, s, 16] @ q
%k = aten.linear(%x, %wv) : f32[1, s, 8] @ k
%t = aten.t(%wv) : f32[16, 8]
%mul = aten.mul.Tensor(%t, %signs_0) : f32[16, 8]
%hadamard = edgeq.hadamard(%mul, size=8) : f32[16, 8]
%t_1 = aten.t(%hadamard) : f32[8, 16]
%mul_1 = aten.mul.Tensor(%bv, %signs_0) : f32[8]
%hadamard_1 = edgeq.hadamard(%mul_1, size=8) : f32[8]
%v = aten.linear(%x, %t_1, %hadamard_1) : f32[1, s, 8] @ v
%a = edgeq.attention(%q, %k, %v, heads=2, kv_heads=1, scale=0.5, causal=True) : f32[1, s, 16] @ attn
%mul_2 = aten.mul.Tensor(%wo, %signs_1) : f32[16, 16]
%hadamard_2 = edgeq.hadamard(%mul_2, size=8) : f32[16, 16]
%o = aten.linear(%a, %hadamard_2) : f32[1, s, 16] @ o
return (%o,)
"""
R1_AFTER = """%input_ids = input : i64[1, s]
%e = weight e : f32[128, 16]
%g = weight g : f32[16]
%b = weight b : f32[16]
%wv = weight wv : f32[16, 16]
%wo = weight wo : f32[16, 16]
%bo = weight bo : f32[16]
%signs_0 = weight signs_0 : f32[16]
%mean = aten.mean.dim(%e, [-1], True) : f32[128, 1]
%sub = aten.sub.Tensor(%e, %mean) : f32[128, 16]
%mul_6 = aten.mul.Tensor(%sub, %signs_0) : f32[128, 16]
%hadamard_2 = edgeq.hadamard(%mul_6, size=16) : f32[128, 16]
%h = aten.embedding(%hadamard_2, %input_ids) : f32[1, s, 16]
%rms_norm = edgeq.rms_norm(%h, eps=1e-05) : f32[1, s, 16] @ norm
%mul = aten.mul.Tensor(%wv, %b) : f32[16, 16]
%sum_1 = aten.sum.dim_IntList(%mul, [1]) : f32[16]
%mul_1 = aten.mul.Tensor(%wv, %g) : f32[16, 16]
%mul_4 = aten.mul.Tensor(%mul_1, %signs_0) : f32[16, 16]
%hadamard = edgeq.hadamard(%mul_4, size=16) : f32[16, 16]
%v = aten.linear(%rms_norm, %hadamard, %sum_1) : f32[1, s, 16] @ v
%mean_1 = aten.mean.dim(%wo, [0], True) : f32[1, 16]
%sub_1 = aten.sub.Tensor(%wo, %mean_1) : f32[16, 16]
%mean_2 = aten.mean.dim(%bo, [0], True) : f32[1]
%sub_2 = aten.sub.Tensor(%bo, %mean_2) : f32[16]
%t = aten.t(%sub_1) : f32[16, 16]
%mul_7 = aten.mul.Tensor(%t, %signs_0) : f32[16, 16]
%hadamard_3 = edgeq.hadamard(%mul_7, size=16) : f32[16, 16]
%t_1 = aten.t(%hadamard_3) : f32[16, 16]
%mul_8 = aten.mul.Tensor(%sub_2, %signs_0) : f32[16]
%hadamard_4 = edgeq.hadamard(%mul_8, size=16) : f32[16]
%o = aten.linear(%v, %t_1, %hadamard_4) : f32[1, s, 16] @ o
%r = aten.add.Tensor(%h, %o) : f32[1, s, 16] @ layer
%rms_norm_1 = edgeq.rms_norm(%r, eps=1e-05) : f32[1, s, 16] @ last
%mul_2 = aten.mul.Tensor(%e, %b) : f32[128, 16]
%sum_2 = aten.sum.dim_IntList(%mul_2, [1]) : f32[128]
%mul_3 = aten.mul.Tensor(%e, %g) : f32[128, 16]
%mul_5 = aten.mul.Tensor(%mul_3, %signs_0) : f32[128, 16]
%hadamard_1 = edgeq.hadamard(%mul_5, size=16) : f32[128, 16]
%y = aten.linear(%rms_norm_1, %hadamard_1, %sum_2) : f32[1, s, 128] @ head
return (%y,)
"""


def rewritten(text: str, rotate: Rotate) -> str:
    gm = parse(text)
    rotate(gm)
    return show(gm)


def test_text_of_a_run_time_rotation():
    assert rewritten(R4_BEFORE, Rotate(r1=False, r2=False, r4=True)) == R4_AFTER


def test_text_of_a_rotated_residual():
    """Writers are centred for the RMS norms, gamma and beta move into readers; embedding and head become two."""
    assert rewritten(R1_BEFORE, Rotate(r2=False)) == R1_AFTER


def test_text_of_rotated_values():
    assert rewritten(R2_BEFORE, Rotate(r1=False)) == R2_AFTER
