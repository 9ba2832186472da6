"""BiLLM: salient columns apart, errors below plain fits, one gather a place; structured too."""

from __future__ import annotations

import pytest
import torch
from test_gptq import context
from test_gptq_columns import K, tokens, weight
from test_objective import Weights

from edgeq.errors import UsageError
from edgeq.ir.graph import arguments, calls
from edgeq.ir.text import parse, show
from edgeq.ir.verify import verify
from edgeq.passes.pipeline import make, parse_pipeline
from edgeq.passes.rounding.hessian import hessian
from edgeq.passes.rounding.permuted import format_of_kind, in_own_order, padded_order, stored_bits
from edgeq.passes.rounding.salient import Salient, round_salient
from edgeq.quant.simulate import QuantSpec
from edgeq.quant.values import dequantized

PLAIN = Salient(0.01, False, True, 17, 4, 0.25)


def settings(**given):
    return Salient(**{**vars(PLAIN), **given})


def planted():
    """A few columns far larger than the others, as outlier channels make them; few directions in the input."""
    w, x = weight(5), tokens(6)
    loud = torch.arange(4, K, 9)  # 16 of them
    w[:, loud] *= 5
    x[:, loud] *= 2
    return w, x, loud


def values(found, structured=False):
    return in_own_order(dequantized(found.codes, found.scale, None, format_of_kind(structured)), found.index, K)


def loss(w, quantized, h):
    difference = (w - quantized).double()
    return float(((difference @ h.double()) * difference).sum())


def test_salient_columns_are_those_that_cost_most():
    w, x, loud = planted()
    found = round_salient(w, hessian([x]).matrix, PLAIN, "w")
    own = found.index[-found.salient :] if found.salient else found.index[:0]
    assert found.salient == 16 and len(set(loud.tolist()) & set(own.tolist())) >= 14
    real = found.index[found.index >= 0]
    assert sorted(real.tolist()) == list(range(K)) and len(found.index) % 16 == 0


@pytest.mark.parametrize("structured", [False, True])
def test_the_output_error_is_below_that_of_a_plain_fit(structured):
    w, x, _ = planted()
    h = hessian([x]).matrix
    whole = QuantSpec.of_format(format_of_kind(structured), "a16").weight(w)
    found = {inner: round_salient(w, h, settings(structured=structured, inner=inner), "w") for inner in (True, False)}
    errors = {inner: loss(w, values(one, structured), h) for inner, one in found.items()}
    assert errors[False] < 0.9 * loss(w, whole, h)
    assert errors[True] < errors[False]


def test_published_options_have_a_larger_error():
    w, x, _ = planted()
    h = hessian([x]).matrix
    published = loss(w, values(round_salient(w, h, settings(rounds=0, inner=False), "w")), h)
    assert loss(w, values(round_salient(w, h, PLAIN, "w")), h) < published


def test_bits_count_tables_order_and_padding():
    fmt = format_of_kind(False)
    index = padded_order([torch.arange(500), torch.arange(500, 576)])
    assert len(index) == 592 and int((index < 0).sum()) == 16
    bits = stored_bits(index, 1000, 576, fmt)
    assert bits == pytest.approx((fmt.nbytes(1008, 592) * 8 / 1008 * 1000 + 32 * 592) / (1000 * 576))
    assert 2.5 < bits < 2.8


def test_a_column_that_comes_twice_counts_twice():
    stored = torch.tensor([[1.0, 2, 3, 4]])
    found = in_own_order(stored, torch.tensor([1, 0, -1, 1], dtype=torch.int32), 2)
    assert torch.equal(found, torch.tensor([[2.0, 5.0]]))


@pytest.fixture
def model(llama):
    gm = parse(llama)
    return gm, Weights(gm)


@pytest.mark.parametrize("options", ["", "structured=true"])
def test_linears_of_one_input_share_a_gather_and_become_one(model, options):
    gm, weights = model
    report = make("billm", options)(gm, context(gm, weights))
    verify(gm, types=True)
    assert show(parse(show(gm))) == show(gm)
    assert len(report.changed) == 7 and all("bits a weight with tables" in site.what for site in report.changed)
    assert len(calls(gm, "edgeq.columns")) == 4  # q, k, v; o; gate, up; down
    for step in parse_pipeline("quantize{bits=w4a8},merge-linears"):
        step(gm)
    linears = calls(gm, "edgeq.qlinear")
    assert len(linears) == 5  # and the head
    assert [arguments(n)["weight"] for n in linears[:-1]] == [str(format_of_kind(bool(options)))] * 4


def test_options_are_checked():
    with pytest.raises(UsageError, match="damp and most"):
        make("billm", "most=1")
