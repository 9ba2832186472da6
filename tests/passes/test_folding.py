from __future__ import annotations

import float64
import pytest
import torch
from torch import fx

from edgeq.ir.text import parse, show
from edgeq.passes.folds.fold_points import fold_points
from edgeq.passes.folds.folding import fold, part_norms

EXPECTED = {  # how many fold points of each kind the zoo's two layers hold, over all graphs of a model
    "opt": {"norm": 4, "value": 2, "relu": 2},
    "llama": {"norm": 5, "value": 2, "gated": 2},
    "qwen2": {"norm": 5, "value": 2, "gated": 2},
    "qwen3": {"norm": 5, "value": 2, "gated": 2},
    "gpt2": {"norm": 4, "value": 2},
    "bert": {"norm": 4, "value": 2},
    "vit": {"norm": 5, "value": 2},
}


def fold_all(gm: fx.GraphModule, shifts: bool, seed: int = 0) -> int:
    """Fold random positive scales and shifts at every point; how many there were."""
    part_norms(gm)
    points, _ = fold_points(gm)
    noise = torch.Generator().manual_seed(seed)
    for point in points:
        width = point.channels // point.repeat
        scale = torch.rand(width, generator=noise) * 4 + 0.1
        shift = torch.randn(width, generator=noise) if shifts and not point.no_shift else None
        fold(gm, point, scale, shift)
    return len(points)


@pytest.mark.parametrize("shifts", [False, True])
@pytest.mark.parametrize("name", float64.NAMES)
def test_folds_change_nothing_in_float64(name: str, shifts: bool) -> None:
    model = float64.build(name)
    before = model.outputs()
    counts: list[int] = []
    float64.fold_everywhere(model, lambda gm: counts.append(fold_all(gm, shifts)))
    assert sum(counts) >= 4
    float64.assert_equal(before, model.outputs())


@pytest.mark.parametrize("name", EXPECTED)
def test_fold_points_of_known_architectures(name: str) -> None:
    found: dict[str, int] = {}
    for gm in float64.build(name).graphs.values():
        part_norms(gm)
        for point in fold_points(gm)[0]:
            found[point.kind] = found.get(point.kind, 0) + 1
    assert found == EXPECTED[name]


POST_LN = """%input_ids = input : i64[1, 8]
%e = weight e : f32[128, 16]
%g = weight g : f32[16]
%b = weight b : f32[16]
%w = weight w : f32[32, 16]
%x = aten.embedding(%e, %input_ids) : f32[1, 8, 16]
%n = aten.layer_norm(%x, [16], %g, %b, 1e-12) : f32[1, 8, 16] @ ln
%y = aten.linear(%n, %w) : f32[1, 8, 32] @ fc
return %y, %n
"""
FOLDED = """%input_ids = input : i64[1, 8]
%e = weight e : f32[128, 16]
%g = weight g : f32[16]
%b = weight b : f32[16]
%w = weight w : f32[32, 16]
%fold_0 = weight fold_0 : f32[16]
%fold_1 = weight fold_1 : f32[16]
%x = aten.embedding(%e, %input_ids) : f32[1, 8, 16]
%n = aten.layer_norm(%x, [16], %g, %b, 1e-12) : f32[1, 8, 16] @ ln
%div = aten.div.Tensor(%g, %fold_0) : f32[16]
%neg = aten.neg(%fold_1) : f32[16]
%add = aten.add.Tensor(%b, %neg) : f32[16]
%div_1 = aten.div.Tensor(%add, %fold_0) : f32[16]
%n_1 = aten.layer_norm(%x, [16], %div, %div_1, 1e-12) : f32[1, 8, 16] @ ln
%mul = aten.mul.Tensor(%w, %fold_1) : f32[32, 16]
%sum_1 = aten.sum.dim_IntList(%mul, [1]) : f32[32]
%mul_1 = aten.mul.Tensor(%w, %fold_0) : f32[32, 16]
%y = aten.linear(%n_1, %mul_1, %sum_1) : f32[1, 8, 32] @ fc
return (%y, %n)
"""


def test_a_norm_that_is_a_residual_is_parted_and_the_bias_comes_before_the_scale() -> None:
    gm = parse(POST_LN)
    part_norms(gm)
    (point,), declined = fold_points(gm)
    assert point.key == "norm: b g w" and not declined
    fold(gm, point, torch.ones(16), torch.zeros(16))
    assert show(gm) == FOLDED


def test_a_shift_is_refused_where_zeros_are_padded_in() -> None:
    padded = POST_LN.replace("linear(%n", "linear(%p").replace(
        "%y =", "%p = aten.constant_pad_nd(%n, [0, 0, 0, 2], 0.0) : f32[1, 10, 16]\n%y ="
    )
    gm = parse(padded.replace("f32[1, 8, 32]", "f32[1, 10, 32]").replace("%y, %n", "%y"))
    (point,), _ = fold_points(gm)
    assert point.no_shift == "zeros are padded in before a linear reads it"
    with pytest.raises(ValueError, match="zeros are padded in"):
        fold(gm, point, None, torch.ones(16))


def test_heads_that_share_a_value_head_share_a_scale(llama: str) -> None:
    (point,) = [p for p in fold_points(parse(llama))[0] if p.kind == "value"]
    statistic = torch.arange(float(point.channels))
    shared = point.share(statistic)
    assert len(shared) == point.channels // point.repeat < point.channels
    assert (point.spread(shared) >= statistic).all()
    assert torch.equal(point.share(point.spread(shared), "min"), shared)
