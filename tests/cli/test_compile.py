"""`edgeq compile`: what it prints, and how it refuses."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from edgeq.cli.app import app


def edgeq(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_compile_json_says_what_was_made(tiny_model, tmp_path):
    out = tmp_path / "out"
    result = edgeq("compile", tiny_model, "-o", out, "--bits", "W8A8", "--context", 32, "--chunk", 16, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["bits"], report["context"], report["chunk"]) == ("w8a8", 32, 16)
    assert report["files"]["model.so"] == (out / "model.so").stat().st_size
    assert report["compile_seconds"] > 0
    assert "edgeq: " in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--bits", "w5a8"), 2, "w5"),
        (("--bits", "soup"), 2, "soup"),
        (("--target", "z80"), 2, "x86-64"),
        (("--context", "0"), 2, "context"),
    ],
)
def test_what_means_nothing_is_refused_before_work(tiny_model, tmp_path, words, code, says):
    result = edgeq("compile", tiny_model, "-o", tmp_path / "out", *words)
    assert result.exit_code == code
    assert says in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_missing_model_is_3(tmp_path):
    result = edgeq("compile", tmp_path / "nowhere", "-o", tmp_path / "out")
    assert result.exit_code == 3
    assert "nowhere" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_exists_is_5_and_stays_as_it_was(tiny_model, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    for extra in ((), ("--overwrite",)):
        result = edgeq("compile", tiny_model, "-o", tmp_path / "out", *extra)
        assert result.exit_code == 5
    assert (tmp_path / "out" / "mine.txt").read_text() == "keep"


def test_ctrl_c_after_short_work_leaves_nothing(tiny_model, tmp_path, monkeypatch):
    from edgeq.artifact import resume
    from edgeq.compiling import compiler

    def interrupted(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(compiler, "write_library", interrupted)
    monkeypatch.setattr(resume, "WORTH_S", 3600.0)
    result = edgeq("compile", tiny_model, "-o", tmp_path / "out", "--context", 32, "--chunk", 16)
    assert result.exit_code == 130
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_what_was_measured_is_kept_and_the_way_to_go_on_is_said(tiny_model, tmp_path, monkeypatch):
    from edgeq.artifact import resume
    from edgeq.compiling import compiler

    def interrupted(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(compiler, "write_library", interrupted)
    monkeypatch.setattr(resume, "WORTH_S", 0.0)
    words = ("compile", tiny_model, "-o", tmp_path / "out", "--bits", "w8a8", "--context", 32, "--chunk", 16)
    result = edgeq(*words)
    assert result.exit_code == 130
    assert "the same command with --resume goes on" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".out.edgeq-resume"]
    assert edgeq(*words, "--resume", "--seed", 1).exit_code == 2


def test_options_of_an_artifact_are_taken_and_overridden(tiny_model, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps({"model": str(tiny_model), "bits": "w8a8", "context": 32, "chunk": 16, "recipe": "fast"})
    )
    done = edgeq("compile", "-c", config, "-o", tmp_path / "out", "--context", 48, "--calib", "none", "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["bits"], report["context"], report["chunk"]) == ("w8a8", 48, 16)
    assert report["recipe"].startswith("fast: smooth")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--recipe", "best", "--pass", "smooth"), "contradict"),
        (("--pass", "add-cache"), "the compiler runs it itself"),
        (("--pass", "smooth{alpha=2}"), "alpha=2"),
        (("--recipe", "slow"), "known: fast, balanced, best"),
        (("--calib-samples", "0"), "calib-samples"),
        (("-c", "nowhere.json"), "nowhere.json"),
        (("--bits", "fp32", "--calib", "notes.txt"), "--calib means nothing here"),
    ],
)
def test_recipes_that_mean_nothing_are_refused(tiny_model, tmp_path, words, says):
    result = edgeq("compile", tiny_model, "-o", tmp_path / "out", *words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_model_or_a_config_is_needed(tmp_path):
    result = edgeq("compile", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "MODEL" in result.stderr


def test_options_that_mean_nothing_to_a_model_are_refused(tmp_path, tiny_model):
    done = edgeq("compile", tiny_model, "--lengths", "32", "--points", "2", "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert "--lengths, --points means nothing" in done.stderr
    assert not (tmp_path / "out").exists()
