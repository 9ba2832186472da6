"""Models that give no next-token probabilities: the relative error of what they give."""

from __future__ import annotations

import pytest
import torch

from edgeq.calibrate.data import open_data
from edgeq.errors import UsageError
from edgeq.frontend.entries import Shapes, load_entries
from edgeq.frontend.source import open_model
from edgeq.sensitivity.measure import measure
from tests.tiny import write_byte_tokenizer


def saved(folder, model):
    model.save_pretrained(folder)
    write_byte_tokenizer(folder)
    return open_model(str(folder))


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(vocab_size=272, hidden_size=40, intermediate_size=72, num_hidden_layers=2,
                        num_attention_heads=2, max_position_embeddings=64, initializer_range=0.2)  # fmt: skip
    return saved(tmp_path_factory.mktemp("model") / "bert", BertModel(config))


@pytest.fixture(scope="module")
def bart(tmp_path_factory):
    from transformers import BartConfig, BartForConditionalGeneration

    torch.manual_seed(0)
    sides = {f"{side}_{what}": size for side in ("encoder", "decoder") for what, size in
             (("layers", 1), ("attention_heads", 2), ("ffn_dim", 64))}  # fmt: skip
    config = BartConfig(vocab_size=272, d_model=32, max_position_embeddings=64, pad_token_id=1, **sides)
    return saved(tmp_path_factory.mktemp("model") / "bart", BartForConditionalGeneration(config))


def measured(source, formats, method="", **given):
    entries = load_entries(source, Shapes(lengths=(16, 32)))
    return measure(entries, source, open_data("", source, count=3).samples, formats, method, **given)


def test_encoders_have_a_relative_error_of_outputs(bert) -> None:
    found = measured(bert, ("w8", "w4g32", "w3g32"), heads=("w8g32", "f32"), act="a16")
    assert (found.method, found.unit) == ("output", "relative error")
    assert [unit.kind for unit in found.units] == ["linear"] * 9 + ["head"]  # the pooler is the ninth
    for unit in found.units[:-1]:
        w8, w4, w3 = (unit.formats[text].damage for text in ("w8", "w4g32", "w3g32"))
        assert 0 < w8 < w4 < w3 < 1
    assert found.units[0].shape == (120, 40)  # widths that are no multiple of 16 are filled up
    assert found.units[-1].modules == ("embeddings.word_embeddings",)
    assert found.units[-1].formats["f32"].damage == 0


@pytest.mark.parametrize("method", ["kl", "fisher"])
def test_probabilities_are_of_language_models(bert, method) -> None:
    with pytest.raises(UsageError, match="use output"):
        measured(bert, ("w8",), method)


def test_an_encoder_is_judged_by_what_it_leaves_and_its_decoder_named(bart) -> None:
    found = measured(bart, ("w8",), heads=("w8g32",))
    linears = [unit for unit in found.units if unit.kind == "linear"]
    assert all("encoder" in name or "encoder_attn" in name for unit in linears for name in unit.modules)
    assert all(0 < unit.formats["w8"].damage < 0.1 for unit in linears)
    assert any("no sample reaches" in note and "decoder" in note for note in found.notes)
