"""Every architecture of the zoo: raised without code of its own, equal to the eager model."""

from __future__ import annotations

import frontend_zoo as zoo
import pytest
import torch
from torch import fx

from edgeq.frontend.graph import raised_graph
from edgeq.ir.graph import arguments, calls, hf_name, inputs, value
from edgeq.ir.verify import verify

LENGTHS = (1, 7, 19)  # one token, and both sides of a window of 4


@pytest.mark.parametrize("name", zoo.ZOO)
def test_raised_graph_equals_the_eager_model(name: str) -> None:
    torch.set_num_threads(1)
    gm, eager = raised_graph(zoo.config(name)), zoo.model(name)
    verify(gm, types=True)
    assert sizes_are_numbers_but_the_length(gm)
    assert all(hf_name(node) for node in calls(gm, "aten.linear", "edgeq.attention"))
    zoo.fill(gm, eager)
    for length in LENGTHS:
        with torch.no_grad():
            want = eager(zoo.tokens(length)).logits
        torch.testing.assert_close(zoo.logits(gm, length), want, rtol=0, atol=1e-5 * float(want.abs().max()))


def sizes_are_numbers_but_the_length(gm: fx.GraphModule) -> bool:
    length = str(value(inputs(gm)["input_ids"]).shape[1])
    tensors = [node.meta["val"] for node in gm.graph.nodes if isinstance(node.meta.get("val"), torch.Tensor)]
    return all(isinstance(size, int) or str(size) == length for tensor in tensors for size in tensor.shape)


def test_llama_is_token_major() -> None:
    gm = raised_graph(zoo.config("llama"))
    kinds = [str(node.target).removesuffix(".default") for node in gm.graph.nodes if node.op == "call_function"]
    layer = [
        "edgeq.rms_norm", "aten.linear", "aten.linear", "aten.linear", "edgeq.rope", "edgeq.rope", "edgeq.attention",
        "aten.linear", "aten.add.Tensor", "edgeq.rms_norm", "aten.linear", "aten.linear", "edgeq.gated", "aten.linear",
        "aten.add.Tensor",
    ]  # fmt: skip
    assert sorted(kinds) == sorted(["aten.embedding", *layer, *layer, "edgeq.rms_norm", "aten.linear"])


def test_windows_softcaps_and_scales_become_attributes() -> None:
    windowed, full = (arguments(node) for node in calls(raised_graph(zoo.config("gemma2")), "edgeq.attention"))
    assert (windowed["causal"], windowed["left"], full["left"]) == (True, 3, -1)
    assert windowed["softcap"] == full["softcap"] == 50.0
    assert windowed["scale"] == pytest.approx(24**-0.5)


def test_a_scale_on_the_query_is_folded() -> None:
    gm = raised_graph(zoo.config("opt"))
    assert not calls(gm, "aten.mul")
    assert all(arguments(node)["scale"] == pytest.approx(0.25) for node in calls(gm, "edgeq.attention"))


def test_tied_weights_are_one_node() -> None:
    gm = raised_graph(zoo.config("llama_tied_biased"))
    targets = [node.target for node in gm.graph.nodes if node.op == "get_attr"]
    assert "lm_head.weight" not in targets and len(targets) == len(set(targets))
    table = next(node for node in gm.graph.nodes if node.target == "model.embed_tokens.weight")
    assert {str(user.target) for user in table.users} == {"aten.embedding.default", "aten.linear.default"}


def test_packed_projections_become_linears_over_rows() -> None:
    gm = raised_graph(zoo.config("phi3"))
    rows = [arguments(node) for node in calls(gm, "aten.slice")]
    packed = [r for r in rows if "qkv_proj" in r["self"].target][:3]
    assert [(r["dim"], r["start"], r["end"]) for r in packed] == [(0, 0, 64), (0, 64, 96), (0, 96, 128)]


def test_interleaved_packing_picks_rows_by_index() -> None:
    gm = raised_graph(zoo.config("gpt_neox"))
    first = arguments(calls(gm, "aten.index_select")[0])["index"]
    assert first.target == "rows_0"
    assert gm.rows_0.tolist()[:17] == [*range(16), 48]  # heads are q, k, v of 16 each


def test_pairs_are_rotated_through_reordered_rows() -> None:
    gm = raised_graph(zoo.config("cohere"))
    index = arguments(calls(gm, "aten.index_select")[0])["index"]
    order = gm.get_buffer(index.target).tolist()
    assert order[:16] == [0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15]


def test_the_given_config_is_left_alone() -> None:
    config = zoo.config("llama")
    before = config.to_dict()
    raised_graph(config)
    assert config.to_dict() == before
