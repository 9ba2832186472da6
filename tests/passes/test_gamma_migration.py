"""Gamma in the linears: equal in float64, as text, on channels near zero, over norms that are residuals too."""

from __future__ import annotations

import pytest
import torch
from float64 import NAMES, assert_equal, build, float64_equal, run_passes

from edgeq.errors import UsageError
from edgeq.ir.graph import arguments, calls
from edgeq.ir.text import parse, show
from edgeq.ir.values import weight_value
from edgeq.passes.gamma_migration import migrated
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import make

POST_LN = """
%x = input : f32[1, 4, 32]
%g = weight norm.weight : f32[32]
%c = weight norm.bias : f32[32]
%n = aten.layer_norm(%x, [32], %g, %c, 1e-12) : f32[1, 4, 32] @ norm
%w = weight fc.weight : f32[32, 32]
%y = aten.linear(%n, %w) : f32[1, 4, 32] @ fc
%r = aten.add.Tensor(%y, %n) : f32[1, 4, 32] @ block
return (%r,)
""".strip()


class Weights:
    """Gamma 1..32 with some channels near zero, everything else ones."""

    def __init__(self, gm, near_zero=()):
        self.tensors = {str(n.target): torch.ones(n.meta["val"].shape) for n in gm.graph.nodes if n.op == "get_attr"}
        self.tensors["norm.weight"] = torch.arange(1.0, 33.0)
        self.tensors["norm.weight"][list(near_zero)] = 1e-6

    def read(self, name, rows=None):
        return self.tensors[name] if rows is None else self.tensors[name][rows]


@pytest.mark.parametrize("name", NAMES)
def test_every_architecture_stays_equal(name):
    changed = [site for report in float64_equal(name, "gamma-migration") for site in report.changed]
    assert changed and all("gamma" in site.what for site in changed)


@pytest.mark.parametrize("name", ["bert", "sam"])
def test_multiplied_shortcuts_stay_equal(name):
    float64_equal(name, "gamma-migration{shortcut=multiply}")


def test_bart_migrates_its_embeddings_and_the_norm_that_its_decoder_reads():
    encoder, decoder = float64_equal("bart", "gamma-migration")
    made = {site.module: site.what for site in (*encoder.changed, *decoder.changed)}
    assert {"model.encoder.layernorm_embedding", "model.decoder.layernorm_embedding"} <= set(made)
    assert made["model.encoder.layers.1.final_layer_norm"].endswith("into 4 linears")  # k, v of both decoder layers
    assert made["model.decoder.layers.0.self_attn_layer_norm"].endswith("into 1 linears")  # q of cross-attention


def test_shortcuts_of_token_graphs_are_not_multiplied():
    encoder, decoder = float64_equal("bart", "gamma-migration{shortcut=multiply}")
    assert len(encoder.changed) == 5
    assert decoder.changed == () and any("use shortcut=part" in site.what for site in decoder.declined)
    (pre_norm,) = float64_equal("gemma", "gamma-migration{shortcut=multiply}")
    assert len(pre_norm.changed) == 4


def test_the_shortcut_gets_a_norm_of_its_own_and_eps_stays(lines):
    gm = parse(POST_LN)
    make("gamma-migration")(gm, Context(Weights(gm)))
    assert lines(show(gm), "aten.") == [
        "%n = aten.layer_norm(%x, [32], %g, %c, 1e-12) : f32[1, 4, 32] @ norm",
        "%div = aten.div.Tensor(%g, %fold_0) : f32[32]",
        "%div_1 = aten.div.Tensor(%c, %fold_0) : f32[32]",
        "%n_1 = aten.layer_norm(%x, [32], %div, %div_1, 1e-12) : f32[1, 4, 32] @ norm",
        "%mul = aten.mul.Tensor(%w, %fold_0) : f32[32, 32]",
        "%y = aten.linear(%n_1, %mul) : f32[1, 4, 32] @ fc",
        "%r = aten.add.Tensor(%y, %n) : f32[1, 4, 32] @ block",
    ]


def test_a_multiplied_shortcut_is_the_papers_form(lines):
    gm = parse(POST_LN)
    make("gamma-migration", "shortcut=multiply")(gm, Context(Weights(gm)))
    assert lines(show(gm), "@ norm", "@ block")[-2:] == [
        "%mul_1 = aten.mul.Tensor(%n_1, %fold_1) : f32[1, 4, 32] @ norm",
        "%r = aten.add.Tensor(%y, %mul_1) : f32[1, 4, 32] @ block",
    ]
    assert len(calls(gm, "aten.layer_norm")) == 1


def test_channels_near_zero_keep_their_gamma():
    gm = parse(POST_LN)
    weights = Weights(gm, near_zero=(3,))
    (site,) = make("gamma-migration")(gm, Context(weights)).changed
    assert site.what == "gamma 1e-06..32 into 1 linears, 1 near zero kept"
    norm = calls(gm, "aten.layer_norm")[-1]
    gamma, beta = (weight_value(arguments(norm)[name], weights) for name in ("weight", "bias"))
    assert torch.equal(gamma, torch.where(torch.arange(32) == 3, 1e-6, 1.0))
    assert beta[3] == 1 and float(beta.max()) == 1
    assert torch.equal(migrated(torch.zeros(4)), torch.ones(4))


def test_small_and_negative_gammas_stay_equal():
    model = build("bert")
    for name, tensor in model.tensors.items():
        if name.endswith("LayerNorm.weight"):
            tensor[:3] = torch.tensor([0.0, 1e-7, -2.5])
    before = model.outputs()
    (report,) = run_passes(model, "gamma-migration")
    assert all("2 near zero kept" in site.what for site in report.changed)
    assert_equal(before, model.outputs())


def test_what_is_declined_is_said():
    (report,) = float64_equal("bert", "gamma-migration")
    assert {s.module: s.what for s in report.declined} == {"encoder.layer.1.output.LayerNorm": "it is an output"}
    (report,) = float64_equal("qwen3", "gamma-migration")
    assert "it normalises heads" in {s.what for s in report.declined}
    (report,) = float64_equal("opt", "gamma-migration")
    assert [s.what for s in report.declined] == ["its weight is also the token embedding"]


def test_a_gamma_that_two_layers_share_stays():
    twice = POST_LN.replace("return (%r,)", "%m = aten.layer_norm(%r, [32], %g, %c, 1e-12) : f32[1, 4, 32] @ again\n"
                            "%z = aten.linear(%m, %w) : f32[1, 4, 32] @ fc\nreturn (%z,)")  # fmt: skip
    gm = parse(twice)
    report = make("gamma-migration")(gm, Context(Weights(gm)))
    assert report.changed == ()
    assert {s.what for s in report.declined} == {"its gamma is shared with another layer"}


def test_wrong_use_is_named():
    with pytest.raises(UsageError, match="known: part, multiply"):
        make("gamma-migration", "shortcut=no")
    with pytest.raises(UsageError, match="needs a model's weights"):
        make("gamma-migration")(parse(POST_LN))
