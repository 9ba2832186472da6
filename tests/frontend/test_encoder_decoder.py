"""Encoder-decoders as entries: encoders that fill caches, a decoder that attends over them, together equal to eager."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import static_zoo as zoo
import torch
import transformers
import zoo_encoder_decoder
from torch import Tensor, fx, nn

from edgeq.errors import UnsupportedError
from edgeq.frontend.entries import EntryGraph, Port, Shapes, load_entries
from edgeq.frontend.export import attribute, set_tensor
from edgeq.ir.graph import arguments, calls, hf_name, inputs, value
from edgeq.ir.text import parse, show
from edgeq.ir.verify import verify
from edgeq.passes.pipeline import parse_pipeline, run_pipeline

TEXT, AUDIO = ("bart", "t5", "t5_gated"), ("whisper",)
CONTEXT, MASK = 32, "attention_mask"


def entries(name: str, **shapes: Any) -> list[EntryGraph]:
    recipe = zoo.ZOO[name]
    return load_entries(SimpleNamespace(config=recipe.config(), assets={}), Shapes(lengths=recipe.lengths, **shapes))


def fill(gm: fx.GraphModule, eager: nn.Module) -> None:
    """Replace the graph's meta weights by the eager model's."""
    stored = eager.state_dict()
    for node in gm.graph.nodes:
        if node.op == "get_attr" and attribute(gm, node.target).device.type == "meta":
            set_tensor(gm, node.target, stored[node.target])
    gm.recompile()


def call(gm: fx.GraphModule, state: dict[str, Tensor], **given: Tensor) -> Any:
    """Run a filled graph; inputs that are not given are memory, which lasts."""
    for name, node in inputs(gm).items():
        if name not in given:
            state.setdefault(name, torch.zeros(value(node).shape, dtype=value(node).dtype))
    with torch.no_grad():
        return gm(*(given.get(name, state.get(name)) for name in inputs(gm)))


def worst(got: Tensor, want: np.ndarray) -> float:
    return float(np.abs(got.numpy() - want).max() / np.abs(want).max())


@pytest.mark.parametrize("name", TEXT + AUDIO)
def test_entries_together_equal_the_eager_model(name: str) -> None:
    """Encode, then the whole text at once: padded texts included, one length after another over the same caches."""
    eager, found = zoo.model(name), {entry.name: entry for entry in entries(name)}
    state: dict[str, Tensor] = {}
    for entry in found.values():
        verify(entry.gm)
        assert show(parse(show(entry.gm))) == show(entry.gm)
        fill(entry.gm, eager)
    for run in zoo.runs(name, eager):
        hidden = call(found[run.entry].gm, state, **{k: torch.from_numpy(v) for k, v in run.inputs.items()})[0]
        assert worst(hidden, run.outputs["last_hidden_state"]) < 1e-5
        tokens = torch.tensor([run.tokens])
        given = {"input_ids": tokens, "position_ids": torch.arange(tokens.shape[1])[None]}
        assert worst(call(found["decode"].gm, state, **given)[0], run.logits) < 1e-5


@pytest.mark.parametrize("name", TEXT + AUDIO)
def test_cached_token_by_token_equals_the_eager_model(name: str) -> None:
    eager, found = zoo.model(name), {entry.name: entry for entry in entries(name)}
    run_pipeline(
        found["decode"].gm,
        parse_pipeline(f"cross-cache{{kv=f32}},add-cache{{kv=f32,context={CONTEXT}}},last-row,merge-linears"),
    )
    for entry in found.values():
        fill(entry.gm, eager)
    run = zoo.runs(name, eager)[0]
    state: dict[str, Tensor] = {}
    call(found[run.entry].gm, state, **{k: torch.from_numpy(v) for k, v in run.inputs.items()})
    for at, token in enumerate(run.tokens):
        step = {"input_ids": torch.tensor([[token]]), "position_ids": torch.tensor([[at]])}
        got = call(found["decode"].gm, state, start=torch.tensor([at]), n_valid=torch.tensor([1]), **step)
        assert worst(got[0, 0], run.logits[at]) < 1e-5


def test_encoders_of_all_lengths_fill_the_same_caches() -> None:
    short, long, decode = entries("bart")
    assert [entry.name for entry in (short, long, decode)] == ["encode_7", "encode_24", "decode"]
    assert short.inputs == (Port("input_ids", "i32", (1, 7)), Port(MASK, "i32", (1, 7)))
    assert [port.name for port in short.outputs] == ["last_hidden_state"]
    assert (decode.kind, decode.base, decode.inputs, decode.outputs) == ("token", "decode", (), ())
    shapes = [
        {name: tuple(value(n).shape) for name, n in inputs(entry.gm).items() if name not in ("input_ids", MASK)}
        for entry in (short, long, decode)
    ]
    assert shapes[0] == shapes[1] == shapes[2]
    assert shapes[0]["cross_k_1"] == (1, 4, 32, 16) and shapes[0]["n_keys"] == (1,)


def test_no_product_over_the_encoder_is_left_in_the_decoder() -> None:
    *encoders, decode = entries("bart")
    for entry in encoders:
        assert [hf_name(n).rsplit(".", 1)[-1] for n in calls(entry.gm, "aten.linear")][-2:] == ["k_proj", "v_proj"]
        assert len(calls(entry.gm, "edgeq.store_keys")) == 2 and len(calls(entry.gm, "edgeq.count_keys")) == 1
    assert not any("encoder_attn.k_proj" in hf_name(n) for n in calls(decode.gm, "aten.linear"))
    assert hf_name(calls(decode.gm, "aten.linear")[-1]) == "lm_head"


def test_audio_has_a_constant_number_of_keys() -> None:
    encode, decode = entries("whisper")
    assert encode.name == "encode" and encode.inputs == (Port("input_features", "f32", (1, 16, 40)),)
    assert not calls(encode.gm, "edgeq.count_keys")
    counts = {arguments(node)["n_keys"] for node in calls(decode.gm, "edgeq.cross_attention")}
    assert [node.op for node in counts] == ["get_attr"] and decode.gm.n_keys.tolist() == [20]


@pytest.mark.parametrize("cls", ["MarianConfig", "MBartConfig", "UMT5Config"])
def test_other_models_need_no_code_of_their_own(cls: str) -> None:
    """Sinusoidal positions, norms first, a bias by distance in every layer."""
    sizes = zoo_encoder_decoder.T5 if "T5" in cls else {**zoo_encoder_decoder.SIZES, "max_position_embeddings": 40}
    config = getattr(transformers, cls)(**sizes)
    *_, decode = load_entries(SimpleNamespace(config=config, assets={}), Shapes(lengths=(16,)))
    layers = len(calls(decode.gm, "edgeq.cross_attention"))
    assert layers == 2 and len(calls(decode.gm, "edgeq.attention")) == layers
    biased = [arguments(node)["distance_bias"] is not None for node in calls(decode.gm, "edgeq.attention")]
    assert biased == [cls == "UMT5Config"] * layers


def test_encoders_of_other_things_are_refused() -> None:
    config = transformers.MoonshineConfig(hidden_size=32, encoder_num_hidden_layers=1, decoder_num_hidden_layers=1)
    with pytest.raises(UnsupportedError, match="takes input_values"):
        load_entries(SimpleNamespace(config=config, assets={}), Shapes())


def test_batches_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="batch of 1"):
        entries("bart", batch=(1, 8))
