"""Recipes on models of several entries, without compiling them."""

from __future__ import annotations

import pytest
import torch
from tiny import write_byte_tokenizer

from edgeq.compiling.calibrated import run_all
from edgeq.compiling.options import make_options
from edgeq.errors import UsageError
from edgeq.frontend.entries import load_entries
from edgeq.frontend.source import open_model


@pytest.fixture(scope="module")
def bart(tmp_path_factory):
    from transformers import BartConfig, BartForConditionalGeneration

    torch.manual_seed(0)
    sides = {f"{side}_{what}": size for side in ("encoder", "decoder") for what, size in
             (("layers", 1), ("attention_heads", 2), ("ffn_dim", 64))}  # fmt: skip
    config = BartConfig(vocab_size=272, d_model=32, max_position_embeddings=64, pad_token_id=1, **sides)
    folder = tmp_path_factory.mktemp("model") / "bart"
    BartForConditionalGeneration(config).save_pretrained(folder)
    write_byte_tokenizer(folder)
    return folder


def passed(folder, samples=4, **given):
    options = make_options(str(folder), bits="w8a8", lengths=(16, 32), calib_samples=samples, **given)
    source = open_model(str(folder))
    said: list[str] = []
    entries = load_entries(source, options.shapes)
    return run_all(entries, source, options, 48, lambda stage, done, total: said.append(stage)), said


def test_encoders_are_measured_once_and_decoders_that_read_their_memory_are_declined(bart):
    done, said = passed(bart)
    smoothed = [report for report in done.reports if report.name.startswith("smooth")]
    assert [len(report.changed) for report in smoothed] == [3, 3, 0]
    assert smoothed[0].changed[0].what == smoothed[1].changed[0].what  # both lengths share weights and decisions
    assert smoothed[0].changed[0].before is not None
    assert [site.module for site in smoothed[2].declined] == ["decode"]
    assert "cross_k_0" in smoothed[2].declined[0].what
    assert done.recipe["calibration"]["samples"] == 4
    assert any(stage.startswith("recipe fast: smooth{alpha=0.5,powers=false") for stage in said)


def test_best_judges_an_encoder_by_the_keys_and_values_that_it_leaves(bart):
    done, _ = passed(bart, recipe="best")
    candidates = done.recipe["candidates"]
    assert len(candidates) > 3 and all(one["damage"] > 0 for one in candidates)
    assert done.recipe["passes"] == candidates[0]["passes"]


def test_passes_that_were_asked_for_are_not_left_out_silently(bart):
    with pytest.raises(UsageError, match="there are none: --calib none"):
        passed(bart, samples=0, passes=("osplus",), calib="none")
