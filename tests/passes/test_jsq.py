"""The pass `jsq`: the joint score, two of four, and what reaches the quantized graph."""

from __future__ import annotations

import pytest
import torch
from test_objective import Weights, sample

from edgeq.errors import UsageError
from edgeq.ir.graph import arguments, calls
from edgeq.ir.text import parse
from edgeq.ir.values import weight_value
from edgeq.ir.verify import verify
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import make, parse_pipeline, run_pipeline
from edgeq.passes.rounding.hessian import hessian, inverse_factor
from edgeq.passes.rounding.sparse_columns import prune_columns
from edgeq.passes.rounding.sparsity import best_two, input_norm, ranges_without, spread_score
from edgeq.quant.bits import Bits
from edgeq.quant.simulate import QuantSpec


def two_of_four(w: torch.Tensor) -> bool:
    return int((w.reshape(len(w), -1, 4) != 0).sum(-1).max()) <= 2


@pytest.fixture
def tokens():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(150, 32, generator=g) @ (torch.eye(32) + 0.4 * torch.randn(32, 32, generator=g))
    return x * torch.linspace(0.2, 3, 32)[torch.randperm(32, generator=g)], torch.randn(24, 32, generator=g)


def test_ranges_are_those_of_outputs_without_a_column(tokens, monkeypatch):
    x, w = tokens
    monkeypatch.setattr("edgeq.passes.rounding.sparsity.CHUNK", 5 * 150 * 24)  # tiles of 5 columns
    found = ranges_without(x, w)
    for j in (0, 7, 31):
        rest = torch.arange(32) != j
        y = x[:, rest].double() @ w[:, rest].double().T
        assert torch.allclose(found[:, j].double(), y.amax(0) - y.amin(0), atol=1e-4)


def test_without_the_second_term_the_score_is_wandas(tokens):
    x, w = tokens
    parts = [x[:100], x[100:]]
    wanda, first = best_two(w.abs() * x.norm(dim=0)), w.abs() * input_norm(parts)
    assert torch.equal(best_two(first + spread_score(w, parts, 0.0, 16)), wanda)
    assert not torch.equal(best_two(first + spread_score(w, parts, 1000.0, 16)), wanda)
    assert torch.allclose(input_norm(parts), input_norm([x] * 3))  # neither samples nor their lengths matter
    assert torch.equal(w.abs() * input_norm([x[:0]]) + spread_score(w, [x[:0]], 2.1, 16), w.abs())


def test_two_of_four_are_kept_the_first_of_equals():
    keep = best_two(torch.tensor([[1.0, 3, 2, 0, 5, 5, 5, 5]]))
    assert keep.tolist() == [[False, True, True, False, True, True, False, False]]


@pytest.mark.parametrize("quant", [QuantSpec(8), QuantSpec(4, 16), QuantSpec(4, 16, symmetric=False)])
def test_weights_that_stay_make_up_for_those_that_go(tokens, quant):
    x, w = tokens
    factor = inverse_factor(hessian([x]).matrix, 0.01)
    found = prune_columns(w, factor.upper, quant, torch.zeros_like(w), 1.0, block=8).values(quant)
    assert two_of_four(found)
    plain = quant.weight(w * best_two(w.abs() * x.norm(dim=0)))
    after, before = ((x @ (v - w).T).square().sum() for v in (found, plain))
    assert after < 0.7 * before
    other = prune_columns(w, factor.upper, quant, torch.zeros_like(w), 1.0, block=32).values(quant)
    assert torch.allclose(found, other, atol=float(w.abs().max()) / 5)  # blocks only order the same sums


def test_inputs_that_know_nothing_of_each_other_make_up_for_nothing(tokens):
    _, w = tokens
    quant = QuantSpec(8)
    found = prune_columns(w, torch.eye(32), quant, torch.zeros_like(w), 1.0)
    scale = found.scale.float()
    assert torch.equal(found.values(quant), torch.round(w / scale).clamp(-128, 127) * scale * best_two(w.abs()))


@pytest.mark.parametrize(("bits", "compensate"), [("s8a8", "false"), ("s4a8g64", "true"), ("w8a8", "true")])
def test_a_model_is_pruned_and_stored_sparse(llama, bits, compensate):
    gm = parse(llama)
    weights, samples = Weights(gm), [sample(40), sample(33, 2)]
    context = Context(weights, samples=lambda gm: samples, bits=Bits.parse(bits))
    steps = f"jsq{{compensate={compensate},skip=*.k_proj}},quantize{{bits={bits}}}"
    if bits.startswith("s"):
        context.formats = {"*.k_proj": "w8"}
    jsq, _ = run_pipeline(gm, parse_pipeline(steps), context)
    verify(gm, types=True)
    assert [site.module.rpartition(".")[2] for site in jsq.changed] == [
        "q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"
    ]  # fmt: skip
    assert {site.module.rpartition(".")[2]: site.what for site in jsq.declined} == {
        "k_proj": "skip names it", "lm_head": "its weight is also the token embedding",
    }  # fmt: skip
    for node in calls(gm, "edgeq.qlinear"):
        given = arguments(node)
        name = str(node.meta["hf"])
        if name.endswith(("k_proj", "lm_head")):
            continue
        assert given["weight"] == str(Bits.parse(bits).weight)
        w = weight_value(given["w"], weights)
        zero = 0 if given["w_scale"] is None else 128 if "8a8" in bits else 8
        assert two_of_four(w - zero if w.is_floating_point() else w.int() - zero)


def test_it_needs_samples_and_a_graph_without_caches(llama):
    gm = parse(llama)
    with pytest.raises(UsageError, match="no samples"):
        make("jsq", "")(gm, Context(Weights(gm)))
    with pytest.raises(UsageError, match="needs a model"):
        make("jsq", "")(parse(llama), Context())
    with pytest.raises(UsageError, match="rho is not negative"):
        make("jsq", "rho=-1")
