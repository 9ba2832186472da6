"""Activations while a window learns: LSQ's gradient, dynamic scales, dropping; and the error that is learned from."""

from __future__ import annotations

import pytest
import torch

from edgeq.passes.learned.activations import LearnedStep, dropped, read
from edgeq.passes.learned.error import divergence, window_error
from edgeq.quant.simulate import QuantSpec, fake_tokens


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bits", [4, 8])
def test_a_step_is_the_op_and_its_gradient_lsqs(bits):
    """`round(v/s) - v/s` inside, -Q and Q where it clips (LSQ, eq. 3); of x 1 inside, 0 where it clips (eq. 5)."""
    x, scale = random(40, 16).requires_grad_(), torch.tensor([1.5 / 2 ** (bits - 1)])
    top, weigh = 2 ** (bits - 1) - 1, random(40, 16, seed=1)
    step = LearnedStep(scale, bits)
    found = step.quantize(x)
    assert torch.allclose(found, torch.ops.edgeq.fake_quant(x.detach(), scale, bits=bits), atol=1e-6)
    (found * weigh).sum().backward()
    v = x.detach() / scale
    inside = v.abs() < top
    assert 0.05 < (~inside).float().mean() < 0.5
    expected = torch.where(inside, v.round() - v, v.sign() * top)
    (stretch,) = step.scales()
    assert stretch.grad / scale == pytest.approx(float((expected * weigh).sum()), rel=1e-3)
    assert torch.allclose(x.grad, torch.where(inside, weigh, 0.0), atol=1e-6)


def test_a_decided_step_does_not_move():
    step = LearnedStep(torch.tensor([0.5]), 8, learns=False)
    assert step.scales() == [] and not step.quantize(random(4, 4)).requires_grad


def test_a_dynamic_scale_passes_gradients_on():
    x = random(5, 8).requires_grad_()
    found = read(x, QuantSpec(4, act="token", act_bits=4))
    assert torch.allclose(found, fake_tokens(x, 4), atol=1e-6)
    found.sum().backward()
    assert torch.equal(x.grad, torch.ones(5, 8))
    assert read(x, QuantSpec(4)) is x


def test_the_share_that_is_dropped():
    plain, quantized = random(100, 100), random(100, 100, seed=1)
    for share in (0.0, 0.3, 1.0):
        found = dropped(quantized, plain, share, torch.Generator().manual_seed(2))
        kept = found == plain
        assert torch.equal(torch.where(kept, plain, quantized), found)
        assert float(kept.float().mean()) == pytest.approx(share, abs=0.02)
    assert dropped(quantized, plain, 0.5, None) is quantized  # what is judged is quantized whole


def test_an_error_counts_rows_alike_and_no_padding():
    """A row a thousand times as large counts once by squares, once as one row; one far below the median weighs less."""
    target = random(1, 6, 8)
    target[0, 0] *= 1000
    counted = torch.tensor([True] * 5 + [False])
    whole = torch.ones(6, dtype=torch.bool)
    found = target * 1.1
    assert window_error({1: found}, {1: target}, whole) == pytest.approx(0.02, rel=0.2)
    other = found.clone()
    other[0, 5] += 100
    assert window_error({1: other}, {1: target}, counted) == window_error({1: found}, {1: target}, counted)
    assert window_error({1: other}, {1: target}, whole) > 1
    sink, others = target.clone(), target.clone()
    sink[0, 0] *= 1.1
    others[0, 1:] *= 1.1
    assert window_error({1: sink}, {1: target}, whole) > 0.01 > window_error({1: others}, {1: target}, whole)
    tokens = random(3, 4)  # not a row a token: counts whole
    assert window_error({1: tokens * 2}, {1: tokens}, counted) > 0


def test_divergence_and_zeros():
    target, found = random(5, 8), random(5, 8, seed=1)
    p, q = target.softmax(-1), found.softmax(-1)
    assert torch.allclose(divergence(found, target), (p * (p / q).log()).sum(-1), atol=1e-6)
    counted = torch.ones(5, dtype=torch.bool)
    plain = window_error({1: found}, {1: target}, counted)
    assert window_error({1: found}, {1: target}, counted, kl=2.0) == pytest.approx(
        float(plain + 2 * divergence(found, target).mean())
    )
    zeros = torch.zeros(5, 8)
    assert window_error({1: zeros}, {1: zeros}, counted) == 0
