"""edgeq.fake_quant and static activations of edgeq.qlinear: values, gradients, text, the executor."""

from __future__ import annotations

import pytest
import torch

import edgeq.ir.ops  # noqa: F401  (registers the ops)
from edgeq.errors import UsageError, VerifyError
from edgeq.ir.ops.matrix import quantize_tensor
from edgeq.ir.text import parse, show
from edgeq.ir.verify import verify

edgeq_ops = torch.ops.edgeq


@pytest.mark.parametrize(("bits", "top"), [(8, 127), (4, 7), (2, 1)])
def test_values_are_the_nearest_of_the_grid_or_its_ends(bits: int, top: int) -> None:
    torch.manual_seed(0)
    x, scale = torch.randn(3, 5, 64), torch.tensor([0.25])
    got = edgeq_ops.fake_quant(x, scale, bits=bits)
    assert torch.equal(got, torch.round(x / 0.25).clamp(-top, top) * 0.25)


def test_gradients_pass_straight_through_but_not_where_it_clips() -> None:
    x = torch.tensor([0.3, 40.0, -40.0], requires_grad=True)
    scale = torch.tensor([0.25], requires_grad=True)
    edgeq_ops.fake_quant(x, scale).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [1, 0, 0]
    assert scale.grad is not None and scale.grad.item() == pytest.approx(round(0.3 / 0.25) - 0.3 / 0.25, abs=1e-5)


def test_other_bits_are_refused() -> None:
    with pytest.raises(VerifyError, match="9 bits"):
        edgeq_ops.fake_quant(torch.ones(1), torch.ones(1), bits=9)


@pytest.mark.parametrize("weight", ["w8", "w4g32", "w4g32a"])
def test_a_static_linear_is_the_float_linear_of_quantized_values(weight: str) -> None:
    from edgeq.ir.ops.matrix import prepare

    torch.manual_seed(0)
    x, w, bias, scale = torch.randn(2, 3, 64), torch.randn(32, 64), torch.randn(32), torch.tensor([0.02])
    got = edgeq_ops.qlinear(x, w, bias, scale, weight=weight, act="a8s")
    stored = prepare(w, weight, "a16").apply(torch.eye(64)).T
    want = edgeq_ops.fake_quant(x, scale) @ stored.T + bias
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    codes, scales = quantize_tensor(x.reshape(6, 64), scale)
    assert codes.abs().max() == 127 and scales.tolist() == [scale.item()] * 6  # 2.54 is the largest value


def test_a_scale_for_float_activations_is_refused() -> None:
    with pytest.raises(UsageError, match="a8s"):
        edgeq_ops.qlinear(torch.ones(1, 16), torch.ones(16, 16), None, torch.ones(1), weight="w8", act="a16")


def test_both_survive_a_round_trip_through_text() -> None:
    text = """%x = input : f32[1, s, 64]
%w = weight w : f32[32, 64]
%scale = weight scale : f32[1]
%fake_quant = edgeq.fake_quant(%x, %scale, bits=6) : f32[1, s, 64] @ layer
%y = edgeq.qlinear(%fake_quant, %w, None, %scale, weight='w8', act='a8s') : f32[1, s, 32] @ layer
return %y
"""
    gm = parse(text)
    verify(gm, types=True)
    assert show(parse(show(gm))) == show(gm)
    assert "edgeq.fake_quant(%x, %scale, bits=6)" in show(gm)
