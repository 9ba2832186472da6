"""Fits of two planes and of tables of four: identities, and an error that never rises."""

from __future__ import annotations

import itertools

import pytest
import torch

from edgeq.quant import codebooks as C
from edgeq.quant.format import WeightFormat
from edgeq.quant.quantizer import dequantize, quantize
from edgeq.quant.simulate import fake_weight

RANDOM = torch.Generator().manual_seed(0)
BELL = torch.randn(6, 3, 64, generator=RANDOM) * torch.linspace(0.01, 2, 18).reshape(6, 3, 1)
STARTS = {"planes": C.planes_start, "split": C.split_start, "residual": C.residual_start}
COST = torch.rand(3, 64, generator=RANDOM) + 0.1


@pytest.mark.parametrize("cost", [None, COST], ids=["plain", "weighted"])
@pytest.mark.parametrize("start", STARTS)
def test_no_round_raises_the_error(start, cost):
    numbers = STARTS[start](BELL, cost)
    errors = []
    for _ in range(6):
        difference = (BELL - C.values(C.nearest(BELL, numbers), numbers)).double().square()
        errors.append((difference if cost is None else difference * cost).sum(-1))
        numbers = C.refined(BELL, numbers, 1, cost)
    assert all((after <= before * (1 + 1e-5)).all() for before, after in itertools.pairwise(errors))
    assert errors[-1].sum() < 0.95 * errors[0].sum()


def test_the_papers_planes_are_the_nearest_levels():
    """`B1 = [w >= (a1 + a2) / 2]`, `B2 = [w - a1 B1 <= a2 / 2]` for a1 > -a2 > 0 (DB-LLM, equations 5 and 6)."""
    a1, a2 = torch.tensor(1.7), torch.tensor(-0.6)
    w = torch.randn(1, 1, 4096, generator=RANDOM)
    b1 = w >= (a1 + a2) / 2
    b2 = w - a1 * b1 <= a2 / 2
    found = C.nearest(w, torch.stack([a1, a2]).reshape(1, 1, 2))
    assert torch.equal(found, b1.to(torch.uint8) + 2 * b2.to(torch.uint8))


def nearest_grid(w, text):
    fmt = WeightFormat.parse(text)
    return torch.from_numpy(dequantize(*quantize(w, fmt), fmt))


def test_planted_planes_and_tables_are_found():
    bits = torch.randint(0, 2, (2, 5, 2, 64), generator=RANDOM).float()
    a, b = (torch.rand(5, 2, 1, generator=RANDOM) + 0.5 for _ in range(2))
    planted = (2 * a * bits[0] - a * bits[1]).reshape(5, 128)
    assert torch.allclose(nearest_grid(planted, "p2g64"), planted, rtol=1e-3)
    table = torch.stack([-3 * b, -b / 2, b / 2, 2.5 * b], -1).squeeze(2)  # [5, 2, 4]
    codes = torch.randint(0, 4, (5, 2, 128), generator=RANDOM)
    planted = table.gather(-1, codes).reshape(5, 256)
    assert torch.allclose(nearest_grid(planted, "c4g128"), planted, rtol=1e-3)


def test_both_are_nearer_than_two_bits():
    w = torch.randn(32, 256, generator=RANDOM)
    plain = (fake_weight(w, 2, 64, method="mse") - w).square().mean()
    errors = {text: float((nearest_grid(w, text) - w).square().mean()) for text in ("p2g64", "c4g128")}
    assert errors["p2g64"] < 0.95 * plain and errors["c4g128"] < errors["p2g64"]


def test_groups_without_weights_and_constants_are_kept():
    for fit in (C.planes, C.codebook):
        groups = torch.stack([torch.zeros(2, 64), torch.full((2, 64), -0.75)])
        codes, numbers, _ = fit(groups, WeightFormat.parse("p2g64"), "mse", "w")
        again = C.values(codes, numbers.reshape(2, 2, -1).float())
        assert torch.isfinite(numbers).all() and torch.allclose(again, groups, atol=1e-3)
