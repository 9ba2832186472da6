"""`edgeq compile --dry-run`: predicts, writes nothing, measures once."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner

import edgeq
from edgeq.cli.app import app
from edgeq.errors import UsageError
from edgeq.predict import speeds

SMALL = ("--context", "64", "--chunk", "16")


def run(*words):
    return CliRunner().invoke(app, ["compile", *map(str, words)])


@pytest.fixture
def config_only(tiny_model, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copy(tiny_model / "config.json", folder)
    return folder


def test_json_from_config_alone(config_only, tmp_path):
    result = run(config_only, "--dry-run", "--json", *SMALL)
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["dry_run"] and report["kind"] == "decoder" and report["context"] == 64
    assert report["size"]["total_bytes"] == sum(report["size"]["files"].values())
    assert report["size"]["left_out"] == ["its tokenizer"]
    assert report["compile"]["seconds"] == pytest.approx(sum(report["compile"]["stages"].values()))
    assert report["compile"]["peak_bytes"] > 0
    assert [s["name"] for s in report["speeds"]] == ["prefill_64", "decode_64"]
    assert all(s["source"] == "measured" and s["tokens_per_second"] > 0 and s["error"] > 0 for s in report["speeds"])
    assert list(tmp_path.iterdir()) == [config_only]


def test_text_says_what_is_exact_and_how_far_off(config_only):
    result = run(config_only, "--dry-run", *SMALL)
    assert result.exit_code == 0, result.stderr
    for said in ("weights.safetensors", "exact", "predicted", "±", "tok/s", "its tokenizer", "off by at most"):
        assert said in result.stdout


def test_speeds_are_kept_and_measured_again_on_demand(config_only, monkeypatch):
    monkeypatch.setattr(speeds, "KEPT_ERROR", 1e9)
    first = edgeq.dry_run(str(config_only), context=64, chunk=16, again=True)

    def refuse(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(speeds, "_measure", refuse)
    assert edgeq.dry_run(str(config_only), context=64, chunk=16).speeds == first.speeds
    with pytest.raises(AssertionError, match="measured again"):
        edgeq.dry_run(str(config_only), context=64, chunk=16, again=True)


def test_a_target_that_is_not_here_is_modelled(config_only):
    from edgeq.targets import names, runs_here

    other = next(name for name in names() if name != "native" and not runs_here(name))
    small, large = (edgeq.dry_run(str(config_only), target=other, bits=b, context=64) for b in ("w4a8", "w8a8"))
    assert {s.source for s in small.speeds} == {"modelled"}
    assert small.speed("decode_64").rate > 0
    assert large.size.files["weights.safetensors"] > small.size.files["weights.safetensors"]


def test_what_means_nothing_is_refused(tiny_model, tmp_path):
    missing = run(tiny_model)
    assert missing.exit_code == 2 and "--output" in missing.stderr
    alone = run(tiny_model, "-o", tmp_path / "out", "--measure-again")
    assert alone.exit_code == 2 and "--dry-run" in alone.stderr
    with pytest.raises(UsageError, match="pareto"):
        edgeq.dry_run(str(tiny_model), target_size="60MB")
    assert run(tmp_path / "nowhere", "--dry-run").exit_code == 3


def test_it_repeats_an_artifacts_options(tiny_artifact, tiny_model):
    found = edgeq.dry_run(config=tiny_artifact)
    assert (found.options.context, found.options.chunk, found.drawn.source.name) == (64, 16, str(tiny_model))
