"""Rounding with second moments to grids whose codes are no plain integers."""

from __future__ import annotations

import pytest
import torch
from test_gptq_columns import K, N, factor, tokens, weight

from edgeq.passes.rounding.gptq_columns import round_columns
from edgeq.passes.rounding.hessian import hessian, inverse_factor
from edgeq.quant.format import WeightFormat
from edgeq.quant.quantizer import quantize
from edgeq.quant.simulate import QuantSpec

FORMATS = ["w1g64", "t2g64", "t1.6g128", "nf4g64", "nf4g64m", "mxfp4", "log4t2g64", "fp8", "fp8e5g64", "w4g32m",
           "p2g64", "c4g64", "c4"]  # fmt: skip


def spec(text, method="minmax"):
    return QuantSpec.of_format(WeightFormat.parse(text), "a16", method)


@pytest.mark.parametrize("text", FORMATS)
def test_alike_and_unrelated_columns_are_rounded_to_nearest(text):
    """H = c I: the codes and numbers that packing makes, bit for bit, whatever the order."""
    upper, w, quant = inverse_factor(3.0 * torch.eye(K), 0.01).upper, weight(), spec(text)
    for order in (None, torch.randperm(K, generator=torch.Generator().manual_seed(3))):
        found = round_columns(w, upper, quant, order=order)
        packed = quantize(w, quant.format)
        for own, theirs in zip((found.codes, found.scale, found.zero), packed, strict=True):
            assert own is theirs or torch.equal(own, torch.from_numpy(theirs))
        assert torch.equal(found.values(quant), quant.weight(w))


def loss(w, quantized, h):
    difference = (w - quantized).double()
    return float(((difference @ h.double()) * difference).sum())


@pytest.mark.parametrize("text", FORMATS)
def test_the_output_error_is_below_that_of_rounding_to_nearest(text, method="weighted"):
    x, w = tokens(), weight(2)
    h, quant = hessian([x]).matrix, spec(text, "mse")
    plain = loss(w, quant.weight(w), h)
    for order in (None, x.square().sum(0).argsort(descending=True)):
        found = round_columns(w, factor(x, order), quant, method=method, order=order)
        assert found.codes.shape == (N, K) and int(found.codes.max()) < quant.format.codes
        assert loss(w, found.values(quant), h) < 0.9 * plain


@pytest.mark.parametrize("text", ["w1g64", "t2g64", "nf4g64", "p2g64", "c4g64"])
def test_weighted_fits_count_costly_columns(text):
    """One column costs a thousand times as much as any other: it gets nearer to its weights than it would by itself."""
    cost = torch.ones(K)
    cost[::16] = 1000.0
    upper, w, quant = torch.diag(cost.rsqrt()), weight(4), spec(text, "mse")
    found = {m: round_columns(w, upper, quant, method=m).values(quant) for m in ("mse", "weighted")}
    errors = {m: ((v - w).square() * cost).sum() for m, v in found.items()}
    assert errors["weighted"] < 0.9 * errors["mse"]
