"""Rounding with second moments: the published loop, its identities, and what a bad matrix does."""

from __future__ import annotations

import pytest
import torch

from edgeq.errors import UnsupportedError
from edgeq.passes.rounding.gptq_columns import round_columns
from edgeq.passes.rounding.group_ranges import GroupRanges
from edgeq.passes.rounding.hessian import RETRIES, hessian, inverse_factor
from edgeq.quant.format import WeightFormat
from edgeq.quant.quantizer import dequantize, quantize
from edgeq.quant.simulate import QuantSpec

SPECS = [QuantSpec(4, 32), QuantSpec(4, 64, False), QuantSpec(3, 32, False), QuantSpec(2, 64), QuantSpec(8)]
N, K = 24, 144  # a last group that is shorter


def weight(seed=0):
    return torch.randn(N, K, generator=torch.Generator().manual_seed(seed))


def tokens(seed=1, count=400):
    """Few directions and noise: columns are strongly correlated."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(count, 12, generator=generator) @ torch.randn(12, K, generator=generator)
    return mixed + 0.3 * torch.randn(count, K, generator=generator)


def factor(x=None, order=None, damp=0.01):
    h = hessian([tokens() if x is None else x]).matrix
    return inverse_factor(h if order is None else h[order][:, order], damp).upper


def order_of(x):
    return x.square().sum(0).argsort(descending=True, stable=True)


@pytest.mark.parametrize("method", ["minmax", "mse"])
@pytest.mark.parametrize("quant", SPECS, ids=str)
@pytest.mark.parametrize("scale", [1e-9, 3.0])
def test_alike_and_unrelated_columns_are_rounded_to_nearest(quant, method, scale):
    """H = c I: the codes, scales and zero points that packing makes, bit for bit, whatever the order."""
    upper = inverse_factor(scale * torch.eye(K), 0.01).upper
    w = weight()
    for order in (None, torch.randperm(K, generator=torch.Generator().manual_seed(3))):
        found = round_columns(w, upper, quant, method=method, order=order)
        expected = QuantSpec(quant.weight_bits, quant.group_size, quant.symmetric, method=method)
        assert torch.equal(found.values(quant), expected.weight(w))
        if quant.weight_bits == 4:
            packed = quantize(w, WeightFormat(4, quant.group_size, quant.symmetric), method)
            for own, theirs in zip((found.codes, found.scale, found.zero), packed, strict=True):
                assert own is theirs or torch.equal(own, torch.from_numpy(theirs))


def published(w, upper, quant, block):
    """The reference: one column at a time, errors spread over all that follow at once, in float64."""
    w, upper = w.double().clone(), upper.double()
    size = quant.group_size or K
    values = torch.zeros_like(w)
    for i in range(K):
        if i % size == 0:
            part = w[:, i : i + size].float()
            grid = QuantSpec(quant.weight_bits, 0, quant.symmetric)
            unit = round_columns(part, torch.eye(part.shape[1]), grid)
        scale = unit.scale.double()[:, 0]
        zero = grid.grid.zero_point if unit.zero is None else unit.zero.double()[:, 0]
        codes = (torch.round(w[:, i] / scale) + zero).clamp(0, 2**quant.weight_bits - 1)
        values[:, i] = (codes - zero) * scale
        error = (w[:, i] - values[:, i]) / upper[i, i]
        w[:, i:] -= error[:, None] * upper[i, i:]
    return values.float()


@pytest.mark.parametrize("quant", [QuantSpec(4, 32), QuantSpec(3, 64, False), QuantSpec(2)], ids=str)
def test_it_is_the_published_loop(quant):
    found = round_columns(weight(), factor(), quant).values(quant)
    expected = published(weight(), factor(), quant, 128)
    assert (found - expected).abs().gt(1e-4).float().mean() < 0.01  # a rare tie goes the other way, and some follow it


@pytest.mark.parametrize("order", [False, True])
@pytest.mark.parametrize("quant", [QuantSpec(4, 32), QuantSpec(3, 64, False)], ids=str)
def test_the_size_of_blocks_changes_nothing(quant, order):
    order = order_of(tokens()) if order else None
    upper = factor(order=order)
    first, *others = (round_columns(weight(), upper, quant, order=order, block=b) for b in (K, 1, 7, 32, 50))
    for other in others:
        different = first.values(quant) != other.values(quant)
        assert different.float().mean() < 0.01  # sums in another order: a tie may go the other way


@pytest.mark.parametrize("order", [False, True])
@pytest.mark.parametrize("quant", SPECS, ids=str)
def test_outputs_lose_less_than_by_rounding_to_nearest(quant, order):
    x, w = tokens(), weight()
    order = order_of(x) if order else None
    found = round_columns(w, factor(order=order), quant, order=order)
    error = (x @ (found.values(quant) - w).T).square().sum()
    assert error < 0.75 * (x @ (quant.weight(w) - w).T).square().sum()


@pytest.mark.parametrize("quant", SPECS, ids=str)
def test_codes_lie_on_the_stored_grid(quant):
    found = round_columns(weight(), factor(order=order_of(tokens())), quant, order=order_of(tokens()))
    groups = -(-K // (quant.group_size or K))
    assert found.codes.dtype == torch.uint8 and found.codes.shape == (N, K)
    assert found.scale.dtype == torch.float16 and found.scale.shape == (N, groups)
    assert int(found.codes.max()) < 2**quant.weight_bits
    assert (found.zero is None) == quant.symmetric
    if quant.weight_bits == 4:
        fmt = WeightFormat(4, quant.group_size, quant.symmetric)
        zero = None if found.zero is None else found.zero.numpy()
        stored = dequantize(found.codes.numpy(), found.scale.numpy(), zero, fmt)
        assert torch.equal(found.values(quant), torch.from_numpy(stored))


def test_static_groups_keep_the_ranges_of_the_weight_as_it_came():
    quant, order = QuantSpec(4, 32, False), order_of(tokens())
    found = round_columns(weight(), factor(order=order), quant, order=order)
    plain = round_columns(weight(), torch.eye(K), quant)
    updated = round_columns(weight(), factor(), quant)
    assert torch.equal(found.scale, plain.scale) and torch.equal(found.zero, plain.zero)
    assert not torch.equal(updated.scale[:, 1:], plain.scale[:, 1:])
    assert torch.equal(updated.scale[:, 0], plain.scale[:, 0])


def test_columns_go_back_to_their_places():
    quant, order = QuantSpec(8), torch.arange(K).flip(0)
    found = round_columns(weight(), factor(order=order), quant, order=order)
    assert (found.values(quant) - weight()).abs().max() < 0.2


def test_the_factor_is_that_of_the_inverse():
    h = hessian([tokens()]).matrix.double()
    found = inverse_factor(h.float(), 0.01)
    damped = h + 0.01 * h.diagonal().mean() * torch.eye(K)
    assert found.damp == 0.01 and torch.equal(found.upper, found.upper.triu())
    assert torch.allclose(found.upper.double().T @ found.upper.double() @ damped, torch.eye(K).double(), atol=1e-3)


def test_parts_of_tokens_add_up():
    x = tokens()
    assert torch.allclose(hessian([x]).matrix, x.T @ x / x.square().sum(), rtol=1e-4, atol=1e-6)
    for even in (False, True):
        parts = hessian([x[:50], x[50:51], x[51:]], even).matrix
        assert torch.allclose(parts, hessian([x], even).matrix, rtol=1e-4, atol=1e-6)


def test_one_huge_token_is_half_of_what_counts():
    x = tokens()
    x[7] = torch.eye(K)[3] * 1e6
    x[8] = 0
    plain, mixed = hessian([x]).matrix, hessian([x], even=True).matrix
    assert plain[3, 3] > 0.999 and mixed[3, 3] < 0.52
    rest = torch.cat([x[:7], x[9:]])
    alike = (rest / rest.norm(dim=1, keepdim=True)).T @ (rest / rest.norm(dim=1, keepdim=True)) / 800
    off = ~torch.eye(K, dtype=torch.bool)
    off[3], off[:, 3] = False, False
    assert torch.allclose(mixed[off], alike[off], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e4])
def test_dead_columns_are_rounded_to_nearest_and_change_no_other(size):
    """Whatever the size of the activations: a dead column's diagonal must not outweigh all others in the damping."""
    quant, w, x = QuantSpec(4, 32), weight(), tokens() * size
    x[:, [3, 40]] = 0
    h = hessian([x])
    assert h.dead == 2 and h.tokens == 400
    upper = inverse_factor(h.matrix, 0.01).upper
    found = round_columns(w, upper, quant, order=torch.arange(K))
    nearest = quant.weight(w)
    assert torch.equal(found.values(quant)[:, [3, 40]], nearest[:, [3, 40]])
    assert not torch.equal(found.values(quant), nearest)
    unit = inverse_factor(hessian([x / size]).matrix, 0.01).upper
    assert (found.codes != round_columns(w, unit, quant, order=torch.arange(K)).codes).float().mean() < 0.01


def test_without_tokens_all_is_rounded_to_nearest():
    h = hessian([torch.zeros(0, K), torch.zeros(0, K)])
    assert h.tokens == 0 and h.dead == K and torch.equal(h.matrix, torch.eye(K))


def test_damping_grows_until_it_suffices():
    """An eigenvalue of -0.5 beside a mean diagonal of 1: one and ten percent are not enough."""
    matrix = torch.eye(K)
    matrix[0, 1] = matrix[1, 0] = 1.5
    assert inverse_factor(matrix, 0.01).damp == pytest.approx(1.0)
    matrix[0, 1] = matrix[1, 0] = 1e4
    assert inverse_factor(matrix, 0.01) is None
    assert 0.01 * 10**RETRIES == 100


def test_float64_comes_before_more_damping():
    """Two channels that are nearly one, a million times the others: in float32 the matrix is not positive definite."""
    x = torch.randn(300, K, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:, 0] *= 1e5
    x[:, 1] = x[:, 0]
    matrix = (x.T @ x / 300).float()
    damp = 1e-9
    wide = matrix.clone()
    wide.diagonal().add_(damp * float(matrix.diagonal().mean()))
    assert torch.linalg.cholesky_ex(wide.flip(0, 1))[1] != 0
    assert inverse_factor(matrix, damp).damp == damp


def test_a_scale_beyond_fp16_is_refused():
    with pytest.raises(UnsupportedError, match="layer: a scale"):
        round_columns(weight() * 1e7, torch.eye(K), QuantSpec(4, 32), name="layer")


@pytest.mark.parametrize("quant", [QuantSpec(3, 32), QuantSpec(2, 64, False)], ids=str)
def test_weighted_ranges_cost_least(quant):
    """Of the ranges: less than those that count all columns alike, where they do not; near them where they do."""
    w, cost = weight(), torch.rand(K, generator=torch.Generator().manual_seed(4)) ** 8 + 1e-3

    def lost(method, c):
        ranges = GroupRanges(quant, method, c, N, "w")
        ranges.fit(0, w.T.contiguous())
        groups = [j // ranges.size for j in range(K)]
        values = [ranges.nearest(w[:, j], group) * ranges.wide[group] for j, group in enumerate(groups)]
        return ((torch.stack(values, 1) - w).square() * c).sum()

    assert lost("weighted", cost) < 0.9 * lost("mse", cost) and lost("mse", cost) < lost("minmax", cost)
    assert lost("weighted", torch.ones(K)) < 1.02 * lost("mse", torch.ones(K))


@pytest.mark.parametrize("order", [False, True])
def test_columns_cost_what_the_loss_says(order, monkeypatch):
    """1 / U_ii^2, in the places that the columns came from."""
    seen = []
    make = GroupRanges.__init__

    def record(self, quant, method, cost, *given):
        seen.append(cost)
        make(self, quant, method, cost, *given)

    monkeypatch.setattr(GroupRanges, "__init__", record)
    order = order_of(tokens()) if order else None
    upper = factor(order=order)
    round_columns(weight(), upper, QuantSpec(4, 32), method="weighted", order=order)
    expected = torch.empty(K)
    expected[torch.arange(K) if order is None else order] = upper.diagonal() ** -2
    assert torch.allclose(seen[0], expected)


def test_the_weight_stays_as_it_is():
    for w in (weight(), weight()[:1]):
        before = w.clone()
        round_columns(w, factor(), QuantSpec(4, 32))
        assert torch.equal(w, before)
