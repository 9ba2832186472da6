"""Learned rounding of one weight: where it starts, what it stores, its gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgeq.passes.learned.learned_scale import LearnedScale
from edgeq.passes.learned.soft_rounding import SoftRounding
from edgeq.passes.learned.straight_rounding import StraightRounding
from edgeq.passes.learned.straight_through import rounded
from edgeq.quant.simulate import QuantSpec, fake_weight

KINDS = [SoftRounding, StraightRounding]
GRIDS = [QuantSpec(2, 16, False), QuantSpec(3, 32), QuantSpec(4, 32, False), QuantSpec(4, 64), QuantSpec(8)]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(kind, weight, quant, rank=0):
    return kind(weight, quant, rank, torch.Generator().manual_seed(7))


def moved(one, size=0.7, stretch=0.05):
    """Everything learned, somewhere else."""
    noise = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for part in one.choices():
            part += torch.randn(part.shape, generator=noise) * size
        for part in one.scales():
            part += torch.randn(part.shape, generator=noise) * stretch
    return one


@pytest.mark.parametrize("quant", GRIDS, ids=str)
@pytest.mark.parametrize("rank", [0, 3])
def test_soft_rounding_starts_at_the_float_weight(quant, rank):
    """Where minmax clips nothing, columns that fill no group included; and hardens to round-to-nearest."""
    weight = random(6, 88)
    one = made(SoftRounding, weight, quant, rank)
    kept = one._flat((one._steps >= one._low) & (one._steps <= one._high))
    assert kept.float().mean() > 0.8
    assert torch.allclose(one.weight()[kept], weight[kept], rtol=0, atol=1e-5)
    nearest = fake_weight(weight, quant.weight_bits, quant.group_size, quant.symmetric)
    assert torch.equal(one.hard(), nearest)


@pytest.mark.parametrize("quant", GRIDS, ids=str)
@pytest.mark.parametrize("rank", [0, 3])
def test_straight_rounding_starts_at_the_nearest(quant, rank):
    weight = random(6, 88)
    one = made(StraightRounding, weight, quant, rank)
    nearest = fake_weight(weight, quant.weight_bits, quant.group_size, quant.symmetric)
    assert torch.equal(one.weight().detach(), nearest) and torch.equal(one.hard(), nearest)


@given(st.sampled_from(GRIDS), st.integers(1, 5), st.integers(1, 70), st.integers(0, 2), st.integers(0, 99))
def test_soft_codes_are_up_or_down_and_on_the_grid(quant, rows, columns, rank, seed):
    weight = random(rows, columns, seed=seed)
    one = moved(made(SoftRounding, weight, quant, rank), 3.0, 0.0)
    found = one.harden()
    assert found.codes.dtype == torch.uint8 and found.scale.dtype == torch.float16
    assert (found.zero is None) == quant.symmetric and int(found.codes.max()) < 2**quant.weight_bits
    exact = one._flat(one._steps)
    middle = 2 ** (quant.weight_bits - 1) if found.zero is None else one._flat(one._zero.expand_as(one._steps))
    high = 2**quant.weight_bits - 1 - middle
    inside = torch.minimum(torch.maximum(exact, torch.as_tensor(-middle).float()), torch.as_tensor(high).float())
    signed = found.codes.float() - middle
    assert bool(((signed == inside.floor()) | (signed == inside.floor() + 1)).all())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("quant", GRIDS, ids=str)
def test_what_is_judged_is_what_is_stored(kind, quant):
    one = moved(made(kind, random(6, 88), quant))
    assert torch.equal(one.hard(), one.harden().values(quant))
    assert not torch.equal(one.hard(), made(kind, random(6, 88), quant).hard())


def test_a_straight_weight_is_what_is_stored_but_for_fp16():
    one = moved(made(StraightRounding, random(6, 96), QuantSpec(4, 32, False)))
    assert torch.allclose(one.weight(), one.hard(), rtol=2**-10, atol=0)
    assert torch.equal(one.signed(), made_codes(one))


def made_codes(one):
    found = one.harden()
    return (found.codes.float().reshape(one._steps.shape)) - found.zero.float()[..., None]


@pytest.mark.parametrize("rank", [0, 2])
def test_the_straight_gradient_is_that_of_the_formula(rank):
    quant = QuantSpec(3, 32, False)
    one, other = (moved(made(StraightRounding, random(6, 88), quant, rank)) for _ in range(2))
    weigh = random(6, 88, seed=3)
    (one.weight() * weigh).sum().backward()
    codes = rounded(torch.clamp(other._steps + other._moved(), other._low, other._high))
    (other._flat(codes * other._stretched()) * weigh).sum().backward()
    for mine, plain in zip([*one.choices(), *one.scales()], [*other.choices(), *other.scales()], strict=True):
        assert mine.grad.abs().max() > 0
        assert torch.allclose(mine.grad, plain.grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_lora_has_its_rank_and_few_numbers(kind):
    one = moved(made(kind, random(24, 64), QuantSpec(4, 32), rank=5), stretch=0)
    assert [tuple(part.shape) for part in one.choices()] == [(24, 5), (5, 64)]
    assert torch.linalg.matrix_rank(one._moved().detach().reshape(24, 64)) == 5
    assert tuple(made(kind, random(24, 64), QuantSpec(4, 32)).choices()[0].shape) == (24, 64)


def test_scales_are_learned_and_stored_in_fp16():
    one = made(StraightRounding, random(4, 64), QuantSpec(4, 32))
    before = one.harden()
    with torch.no_grad():
        one.scales()[0] += 0.25
    after = one.harden()
    assert after.scale.dtype == torch.float16 and torch.equal(after.codes, before.codes)
    assert torch.equal(after.scale, (before.scale.float() * 1.25).half())


@pytest.mark.parametrize("kind", KINDS)
def test_state_and_back(kind):
    one = made(kind, random(4, 64), QuantSpec(4, 32), rank=2)
    kept, was = one.state(), one.weight().detach().clone()
    moved(one)
    assert not torch.equal(one.weight(), was)
    one.restore(kept)
    assert torch.equal(one.weight(), was)


def test_the_pull_is_annealed_and_decides():
    """High exponents leave the middle alone; low ones push all; what is decided is left alone by all."""
    one = made(SoftRounding, random(16, 64), QuantSpec(3, 32))
    assert one.pull(2.0) < one.pull(20.0) < 1
    optimizer = torch.optim.Adam(one.choices(), lr=0.1)
    for step in range(300):
        optimizer.zero_grad()
        one.pull(20 - 18 * step / 300).backward()
        optimizer.step()
    raised = one.raised().detach()
    assert one.pull(2.0) < 0.02 and float(((raised < 0.01) | (raised > 0.99)).float().mean()) > 0.97
    assert torch.allclose(one.weight(), one.hard(), atol=0.02)


def test_scales_alone():
    """Of decided codes: the codes stay, the gradient is theirs."""
    quant = QuantSpec(4, 32, False)
    found = made(StraightRounding, random(6, 88), quant).harden()
    one = LearnedScale(found, quant, torch.device("cpu"))
    assert one.choices() == [] and torch.equal(one.weight().detach(), found.values(quant))
    assert torch.equal(one.hard(), found.values(quant))
    weigh = random(6, 88, seed=3)
    (one.weight() * weigh).sum().backward()
    plain = torch.nn.functional.pad(found.values(quant) * weigh, (0, 8)).reshape(6, 3, 32).sum(-1)
    assert torch.allclose(one.scales()[0].grad[..., 0], plain, rtol=1e-4, atol=1e-4)
    moved(one)
    now = one.harden()
    assert torch.equal(now.codes, found.codes) and torch.equal(now.zero, found.zero)
    assert not torch.equal(now.scale, found.scale) and torch.equal(one.hard(), now.values(quant))
