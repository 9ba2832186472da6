"""Models outside the dialect: everything that is in the way, with module names, in one message."""

from __future__ import annotations

from pathlib import Path

import frontend_zoo as zoo
import pytest
import torch
import transformers

from edgeq.errors import UnsupportedError
from edgeq.frontend.graph import raised_graph
from edgeq.frontend.source import open_model


def message(cls: str, **options: object) -> str:
    config = getattr(transformers, cls)(**{**zoo.SIZES, "num_hidden_layers": 1, **options})
    with pytest.raises(UnsupportedError) as caught:
        raised_graph(config)
    return str(caught.value)


def test_mixtures_of_experts_list_ops_and_modules() -> None:
    text = message("MixtralConfig", num_local_experts=2, num_key_value_heads=2)
    assert "aten.topk: model.layers.0.mlp.gate" in text
    assert "aten.sort: model.layers.0.mlp.experts" in text


def test_state_space_layers_are_named() -> None:
    text = message("MambaConfig")
    assert "aten.conv1d: backbone.layers.0.mixer" in text


def test_convolutions_between_attention_are_named() -> None:
    text = message("Lfm2Config", num_hidden_layers=2, num_key_value_heads=2, layer_types=["conv", "full_attention"])
    assert "aten.conv1d: model.layers.0.conv" in text


def test_what_cannot_be_traced_names_its_module(capfd: pytest.CaptureFixture[str]) -> None:
    rope = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    text = message("LlamaConfig", rope_parameters=rope)
    assert "cannot be traced: model.rotary_emb" in text
    assert "def forward" not in capfd.readouterr().err  # torch would print the graph so far


def test_encoder_decoders_are_refused() -> None:
    assert "encoder-decoder" in message("T5Config")


def test_quantized_checkpoints_are_refused() -> None:
    assert "already quantized" in message("LlamaConfig", quantization_config={"quant_method": "gptq", "bits": 4})


def test_a_mask_that_is_no_window_is_refused() -> None:
    """Chunked attention: what a token sees depends on where its chunk starts."""
    from edgeq.frontend.hooks import classify

    chunks = lambda b, h, q, k: (k <= q) & (k // 16 == q // 16)  # noqa: E731
    assert classify(chunks) is None


@pytest.mark.parametrize("left", [-1, 0, 3, 4095])
def test_causal_windows_are_recognised(left: int) -> None:
    from edgeq.frontend.hooks import classify

    window = lambda b, h, q, k: (k <= q) & ((q - k <= left) | (left < 0))  # noqa: E731
    assert classify(window) == (True, left, -1)


def test_two_sided_windows_are_recognised() -> None:
    from edgeq.frontend.hooks import classify

    assert classify(lambda b, h, q, k: torch.abs(q - k) <= 5) == (False, 5, 5)
    assert classify(lambda b, h, q, k: torch.ones_like(q - k, dtype=torch.bool)) == (False, -1, -1)


def test_a_checkpoint_of_experts_is_refused_for_its_routing_not_for_its_names(tmp_path: Path) -> None:
    """transformers stores experts one by one and merges them as it loads: no tensor has the model's names."""
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = transformers.MixtralConfig(**sizes, num_key_value_heads=2, num_local_experts=2, vocab_size=50)
    transformers.MixtralForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(UnsupportedError, match=r"aten.topk: model.layers.0.mlp.gate"):
        open_model(str(tmp_path))
