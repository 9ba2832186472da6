"""A tiny Llama compiled to promises: what is said of the artifact is what lies in the folder."""

from __future__ import annotations

import re

import pytest
from tiny import CONFIG, write_byte_tokenizer

import edgeq
from edgeq.artifact.manifest import read
from edgeq.artifact.verify import verify_files
from edgeq.budget.amounts import parse_size
from edgeq.budget.menu import GROUPED
from edgeq.errors import BudgetError, UsageError
from edgeq.evaluate.perplexity import perplexity, second_half
from edgeq.evaluate.text import text_tokens

SMALL = {"context": 64, "chunk": 16, "recipe": "fast"}  # what balanced reports is a hundredth of so small a model
TEXT = "A promise is kept on text that no pass has measured, word for word. " * 12


@pytest.fixture(scope="module", autouse=True)
def menu():
    """Formats of 4 and 8 bits: in so small a model each kernel weighs as much as a layer, and these fill any size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgeq.budget.problem.LINEARS", (*GROUPED, "w8", "w8g128"))
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Four layers of width 128, so that one layer's format is less than a hundredth of the artifact."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("model") / "llama"
    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4, "head_dim": 32}
    LlamaForCausalLM(LlamaConfig(**{**CONFIG, **sizes}, initializer_range=0.1)).save_pretrained(folder)
    write_byte_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "held_out.txt"
    file.write_text(TEXT)
    return file


@pytest.fixture(scope="module")
def refused(model, text, tmp_path_factory):
    """What is said of a size that is far too small, and the folder it was to be in."""
    place = tmp_path_factory.mktemp("refused")
    with pytest.raises(BudgetError) as error:
        edgeq.compile(str(model), output=place / "out", target_size="200kB", eval_text=str(text), **SMALL)
    return str(error.value), place


@pytest.fixture(scope="module")
def artifact(model, text, refused, tmp_path_factory):
    """A size between what is smallest and what all layers of 8 bits take."""
    smallest = parse_size(re.search(r"the smallest artifact is ([\d.]+ .B)", refused[0])[1])
    size = int(smallest * 1.04)
    place = tmp_path_factory.mktemp("artifact") / "out"
    promised = {"target_size": str(size), "max_ppl_increase": "60%", "eval_text": str(text)}
    made = edgeq.compile(str(model), output=place, **promised, **SMALL)
    return made, size


def test_a_size_that_no_artifact_has_is_refused_and_leaves_nothing(refused):
    message, place = refused
    assert message.startswith("--target-size 200.00 kB cannot be kept: the smallest artifact is")
    assert "predicted perplexity" in message and "the nearest: --target-size" in message
    assert not list(place.iterdir())


def test_the_folder_is_within_a_hundredth_of_the_size(artifact):
    made, size = artifact
    files = sum(path.stat().st_size for path in made.path.rglob("*") if path.is_file())
    assert 0.99 * size <= files <= size
    assert made.manifest["budget"]["promised"] == {"bytes": size, "perplexity_increase": 0.6}
    assert made.manifest["budget"]["measured"]["perplexity_increase"] <= 0.6
    assert files <= made.manifest["budget"]["measured"]["bytes"] <= size
    verify_files(made.path, read(made.path), strong=True)


def test_layers_have_the_formats_that_the_manifest_names(artifact):
    manifest = artifact[0].manifest
    formats = manifest["recipe"]["options"]["formats"]
    assert len(formats) == 4 * 7 and len(set(formats.values())) > 1
    stored = {tensor["sources"][0].removesuffix(".weight"): tensor["format"] for tensor in manifest["tensors"]
              if tensor["sources"]}  # fmt: skip
    for module in ("model.layers.0.self_attn.q_proj", "model.layers.3.mlp.down_proj"):
        assert stored[module] == formats[module]
    for layer in range(4):
        assert len({formats[f"model.layers.{layer}.self_attn.{part}_proj"] for part in "qkv"}) == 1


def test_the_perplexity_is_that_of_the_artifact(artifact, text):
    made, _ = artifact
    measured = made.manifest["budget"]["measured"]
    tokens, begin = text_tokens(made.tokenizer.encode, text.read_text())
    own = perplexity(second_half(made.session), tokens, begin, 64)
    assert measured["perplexity"] == pytest.approx(own.perplexity, rel=1e-4) and measured["tokens"] == own.tokens
    share = measured["perplexity"] / measured["original_perplexity"] - 1
    assert measured["perplexity_increase"] == pytest.approx(share, abs=1e-3)


def test_its_config_compiles_the_same_weights_again(artifact, tmp_path):
    made, _ = artifact
    again = edgeq.recompile(made.path, tmp_path / "again")
    assert again.manifest["budget"] == {}
    for name in ("weights.safetensors", "model.so", "passes.json"):
        assert (again.path / name).read_bytes() == (made.path / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"target_size": "big"}, "no size"),
        ({"target_size": "60MB", "bits": "fp16"}, "formats of 4 and 8 bits"),
        ({"target_size": "60MB", "bits": "w8a8s"}, "static"),
        ({"target_size": "60MB", "bits": "w1a1"}, "signs"),
        ({"target_size": "60MB", "formats": {"*": "w8"}}, "--formats"),
        ({"eval_text": "x.txt"}, "what a budget is measured on"),
        ({"target_size": "60MB", "eval_text": "/no/such/file"}, "cannot be read"),
    ],
)
def test_promises_that_mean_nothing_are_refused(model, tmp_path, options, why):
    with pytest.raises(UsageError, match=why):
        edgeq.compile(str(model), output=tmp_path / "out", **options, **SMALL)
    assert not list(tmp_path.iterdir())
