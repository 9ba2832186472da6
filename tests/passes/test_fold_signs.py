"""Signs of keys: bit for bit the same scores, folded where keys are bimodal, refused where a rotation mixes signs."""

from __future__ import annotations

import pytest
import torch
from float64 import Model, build, run_passes

from edgeq.errors import UsageError
from edgeq.ir.graph import arguments, calls, inputs
from edgeq.ir.ops.attention import split_heads
from edgeq.ir.text import parse, show
from edgeq.ir.values import call, weight_value
from edgeq.passes.pipeline import make
from edgeq.passes.signs.key_sites import key_sites

ATTENTION = """
%x = input : f32[1, 6, 32]
%w = weight qkv.weight : f32[64, 32]
%b = weight qkv.bias : f32[64]
%y = aten.linear(%x, %w, %b) : f32[1, 6, 64] @ qkv
%q = aten.slice.Tensor(%y, -1, 0, 32) : f32[1, 6, 32] @ qkv
%k = aten.slice.Tensor(%y, -1, 32, 48) : f32[1, 6, 16] @ qkv
%v = aten.slice.Tensor(%y, -1, 48, 64) : f32[1, 6, 16] @ qkv
%a = edgeq.attention(%q, %k, %v, heads=4, kv_heads=2, scale=0.25, causal=False) : f32[1, 6, 32] @ attn
return (%a,)
""".strip()
TOKEN_TO_IMAGE = [f"mask_decoder.transformer.{name}token_to_image"
                  for name in ("layers.0.cross_attn_", "layers.1.cross_attn_", "final_attn_")]  # fmt: skip


def plant(model: Model, module: str) -> None:
    """Keys around +-8: a large bias of alternating sign beside what a small weight adds."""
    bias = model.tensors[f"{module}.k_proj.bias"]
    bias[::2], bias[1::2] = 8.0, -8.0


def packed() -> Model:
    gm = parse(ATTENTION)
    noise = torch.Generator().manual_seed(0)
    tensors = {"qkv.weight": torch.randn(64, 32, generator=noise), "qkv.bias": torch.randn(64, generator=noise)}
    given = {"x": torch.randn(1, 6, 32, generator=noise)}
    return Model({"graph": gm}, {name: tensor.double() for name, tensor in tensors.items()}, {"graph": given})


def scores_and_outputs(model: Model, name: str) -> list[torch.Tensor]:
    """Float32 scores of every attention of a graph, then its outputs."""
    known, found = {}, []
    for node in model.graphs[name].graph.nodes:
        if node.op == "output":
            return found + [known[n] for n in node.all_input_nodes]
        if node.op == "placeholder":
            known[node] = model.given[name][str(node.target)]
        elif node.op == "get_attr":
            known[node] = weight_value(node, model)
        else:
            known[node] = call(node, known.__getitem__)
        if node in calls(model.graphs[name], "edgeq.attention"):
            given = arguments(node)
            q, k = split_heads(known[given["q"]], given["heads"]), split_heads(known[given["k"]], given["kv_heads"])
            found.append(q @ k.repeat_interleave(q.shape[1] // k.shape[1], 1).transpose(-1, -2))
    raise AssertionError("no output")


def assert_same_bits(model: Model, name: str, pipeline: str):
    before = scores_and_outputs(model, name)
    doubles = model.outputs()
    reports = run_passes(model, pipeline)
    assert all(torch.equal(a, b) for a, b in zip(before, scores_and_outputs(model, name), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(doubles, model.outputs(), strict=True))
    return reports


@pytest.mark.parametrize("name", ["opt", "gpt2"])
def test_forced_signs_change_no_bit_of_a_decoder(name):
    (report,) = assert_same_bits(build(name), "decode", "fold-signs{force=true}")
    assert len(report.changed) == 2


@pytest.mark.parametrize("name", ["bert", "vit", "detr"])
def test_forced_signs_change_no_bit_of_a_static_model(name):
    model = build(name)
    (report,) = assert_same_bits(model, next(iter(model.graphs)), "fold-signs{force=true}")
    assert len(report.changed) == (5 if name == "detr" else 2)


def test_bimodal_keys_of_sams_mask_decoder_become_one_mode_of_half_the_range():
    model = build("sam")
    for module in TOKEN_TO_IMAGE:
        plant(model, module)
    *_, report = assert_same_bits(model, "mask", "fold-signs")
    assert [site.module for site in report.changed] == TOKEN_TO_IMAGE
    for site in report.changed:
        assert site.what == "4 of 8 channels of its keys change sign"
        width = [float(one.high.max() - one.low.min()) for one in (site.before, site.after)]
        assert width[1] < 0.6 * width[0]
        assert float(site.after.low.min()) > 0
    assert len(report.declined) == 4
    assert all("not bimodal" in site.what for site in report.declined)


def test_keys_with_other_readers_of_their_queries_are_declined():
    report = run_passes(build("sam"), "fold-signs")[0]
    assert {site.what for site in report.declined} == {"something else reads its queries"}


@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_rotated_pairs_must_agree(name):
    model = build(name)
    (report,) = assert_same_bits(model, "decode", "fold-signs{force=true}")
    assert report.changed == ()
    assert all("rotated pairs of channels have two signs" in site.what for site in report.declined)


def test_signs_that_agree_on_rotated_pairs_are_folded():
    model = build("llama_tied_biased")
    for layer in (0, 1):
        plant(model, f"model.layers.{layer}.self_attn")  # halves of 8 channels: both channels of a pair get one sign
    (report,) = assert_same_bits(model, "decode", "fold-signs")
    assert len(report.changed) == 2


def test_rows_of_a_packed_projection_and_grouped_heads(lines):
    model = packed()
    (report,) = assert_same_bits(model, "graph", "fold-signs{force=true}")
    gm = model.graphs["graph"]
    assert lines(show(gm), "aten.linear") == ["%y = aten.linear(%x, %mul_2, %mul_3) : f32[1, 6, 64] @ qkv"]
    queries, keys = (gm.get_buffer(name) for name in ("signs_0", "signs_1"))
    assert torch.equal(queries[:32].view(2, 2, 8), keys[32:48].view(2, 1, 8).expand(2, 2, 8))
    assert torch.equal(keys[:32], torch.ones(32)) and torch.equal(keys[48:], torch.ones(16))
    assert torch.equal(queries[32:], torch.ones(32))
    assert report.changed[0].what == f"{int((keys < 0).sum())} of 16 channels of its keys change sign"


def test_a_mean_of_zero_keeps_its_channel():
    model = packed()
    model.tensors["qkv.weight"].zero_()
    model.tensors["qkv.bias"].zero_()
    model.tensors["qkv.bias"][40] = -1
    (report,) = assert_same_bits(model, "graph", "fold-signs{force=true}")
    assert report.changed[0].what == "1 of 16 channels of its keys change sign"


def test_entries_of_one_model_share_the_decision():
    model = build("vit")
    other = build("vit")
    model.graphs["again"], model.given["again"] = other.graphs["image"], other.given["image"]
    model.given["again"] = {"pixel_values": -other.given["image"]["pixel_values"]}
    run_passes(model, "fold-signs{force=true}")
    first, second = ([b for n, b in gm.named_buffers() if n.startswith("signs_")] for gm in model.graphs.values())
    assert len(first) == 4 and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    "old,new,reason",
    [
        ("aten.linear(%x, %w, %b)", "aten.add.Tensor(%b, %x2)", "its queries are no linear's output"),
        ("return (%a,)", "return (%a, %k)", "something else reads its keys"),
        ("return (%a,)", "return (%a, %y)", "something else reads its queries"),
        ("-1, 0, 32", "-1, 0, 64, 2", "its queries are a part of a linear's rows"),
        (
            "return (%a,)",
            "%z = aten.linear(%a, %w) : f32[1, 6, 64] @ other\nreturn (%z,)",
            "its projection serves another layer too",
        ),
    ],
)
def test_attentions_that_signs_cannot_be_folded_into(old, new, reason):
    text = ATTENTION.replace("%w = weight", "%x2 = input : f32[1, 6, 64]\n%w = weight").replace(old, new)
    sites, declined = key_sites(parse(text))
    assert sites == [] and [site.what for site in declined] == [reason]


def test_wrong_use_is_named(llama):
    with pytest.raises(UsageError, match="weights and samples"):
        make("fold-signs")(parse(ATTENTION))
    with pytest.raises(UsageError, match="positive number"):
        make("fold-signs", "samples=0")
    gm = parse(llama)
    make("add-cache")(gm)
    assert "k_cache_0" in inputs(gm)
    with pytest.raises(UsageError, match="before add-cache"):
        make("fold-signs")(gm)
