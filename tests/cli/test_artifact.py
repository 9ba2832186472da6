"""The commands on a real, tiny artifact: what they print, and how they refuse what must not be run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgeq.artifact import manifest as manifests
from edgeq.artifact.verify import hash_folder
from edgeq.cli.app import app


def edgeq(*words: object, text: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], input=text)


@pytest.fixture
def copy(tiny_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_artifact, tmp_path / "copy"))


def test_run_prints_the_answer_alone_on_stdout(tiny_artifact):
    first = edgeq("run", tiny_artifact, "--prompt", "hello", "--max-tokens", 5)
    again = edgeq("run", tiny_artifact, text="hello\n")
    assert first.exit_code == again.exit_code == 0
    assert again.stdout.startswith(first.stdout[:3])
    assert "tok/s" in first.stderr
    assert "tok/s" not in first.stdout


def test_seed_decides_the_draw(tiny_artifact):
    words = ("run", tiny_artifact, "--raw", "--prompt", "abc", "--max-tokens", 12, "--temperature", 2.0)
    one, same, other = (edgeq(*words, "--seed", seed).stdout for seed in (1, 1, 2))
    assert one == same != other


def test_threads_and_variant_do_not_change_the_answer(tiny_artifact):
    words = ("run", tiny_artifact, "--raw", "--prompt", "abcdef", "--max-tokens", 12)
    ways = ((), ("--threads", 1), ("--threads", 3), ("--variant", "portable"))
    answers = {edgeq(*words, *how).stdout for how in ways}
    assert len(answers) == 1


def test_empty_stdin_is_a_usage_error(tiny_artifact):
    result = edgeq("run", tiny_artifact, text="")
    assert result.exit_code == 2
    assert "--prompt" in result.stderr


def test_system_and_raw_exclude_each_other(tiny_artifact):
    result = edgeq("run", tiny_artifact, "--raw", "--system", "x", "--prompt", "y")
    assert result.exit_code == 2


def test_a_prompt_beyond_the_context_is_8(tiny_artifact):
    result = edgeq("run", tiny_artifact, "--raw", "--prompt", "a" * 65)
    assert result.exit_code == 8
    assert "65 tokens" in result.stderr
    assert result.stdout == ""


def test_inspect_json_is_the_manifest(tiny_artifact):
    report = json.loads(edgeq("inspect", tiny_artifact, "--json").stdout)
    assert report["bits"] == "w4a8"
    assert {entry["name"] for entry in report["entries"]} == {"decode", "prefill"}
    assert report["memory"]["context"] == 64
    assert {"model.so", "weights.safetensors", "model.c", "tokenizer.json"} <= set(report["files"])


def test_inspect_shows_every_layer_kernel_and_use_of_memory(tiny_artifact):
    report = json.loads(edgeq("inspect", tiny_artifact, "--json").stdout)
    layers = edgeq("inspect", tiny_artifact, "--layers").stdout
    kernels = edgeq("inspect", tiny_artifact, "--kernels").stdout
    memory = edgeq("inspect", tiny_artifact, "--memory").stdout
    overview = edgeq("inspect", tiny_artifact).stdout
    assert all(tensor["name"] in layers for tensor in report["tensors"])
    assert all(kernel["name"] in kernels for kernel in report["kernels"])
    assert f"{report['memory']['arena']:,}" in memory
    assert "8-bit groups of 32" in overview  # the choice for embedding and head is printed
    assert "avx512vnni" in overview


def test_inspect_shows_an_entry_s_regions_and_what_was_fused(tiny_artifact):
    report = json.loads(edgeq("inspect", tiny_artifact, "--entry", "decode", "--json").stdout)
    assert report["name"] == "decode"
    shown = edgeq("inspect", tiny_artifact, "--entry", "decode").stdout
    assert all(kernel in shown for region in report["regions"] for kernel in region["kernels"])
    assert "of model.layers.*.mlp.{gate_proj,up_proj}, model.layers.*.mlp\n" in shown
    assert " x2: " in shown  # the two layers are one item
    refused = edgeq("inspect", tiny_artifact, "--entry", "image")
    assert refused.exit_code == 2
    assert "no entry 'image'; this artifact has decode, prefill" in refused.stderr


def test_profile_json(tiny_artifact):
    words = ("profile", tiny_artifact, "--prefill", "32,16", "--decode", 8, "--repeats", 2, "--brief", "--json")
    report = json.loads(edgeq(*words).stdout)
    assert set(report["tokens_per_second"]) == {"prefill_32", "prefill_16", "decode_8"}
    rate = report["tokens_per_second"]["decode_8"]
    assert len(rate["samples"]) >= 2
    assert min(rate["samples"]) <= rate["median"] <= rate["best"]
    assert report["decode_share_of_bandwidth"] > 0
    for ops in report["entries"].values():
        assert sum(op["share_of_time"] for op in ops) == pytest.approx(1)
    stored = json.loads(edgeq("inspect", tiny_artifact, "--json").stdout)
    regions = {entry["name"]: entry["regions"] for entry in stored["entries"]}
    assert report["decode_weight_bytes"] == sum(region["weight_bytes"] for region in regions["decode"])


def test_profile_table_has_a_line_an_op(tiny_artifact):
    result = edgeq("profile", tiny_artifact, "--prefill", "16", "--decode", 8, "--repeats", 2, "--brief")
    assert result.exit_code == 0
    assert "prefill 16" in result.stdout
    assert "of bandwidth" in result.stdout
    assert "model.layers.*." in result.stdout


def test_profile_refuses_more_tokens_than_the_context(tiny_artifact):
    result = edgeq("profile", tiny_artifact, "--prefill", "512")
    assert result.exit_code == 2
    assert "context of 64" in result.stderr


def test_profile_needs_something_to_measure(tiny_artifact):
    from edgeq.errors import UsageError
    from edgeq.measure.profile import Settings, profile

    for odd in (Settings(prefill=()), Settings(prefill=(16,), decode=0), Settings(prefill=(16,), repeats=0)):
        with pytest.raises(UsageError, match="at least one prompt length"):
            profile(tiny_artifact, odd)


@pytest.mark.parametrize("given", ["", "a", "16,,8", "0", "-4"])
def test_profile_refuses_odd_lengths(tiny_artifact, given):
    assert edgeq("profile", tiny_artifact, f"--prefill={given}").exit_code == 2


def test_eval_json_has_a_perplexity(tiny_artifact, tmp_path):
    import edgeq as package
    from edgeq.evaluate.perplexity import perplexity
    from edgeq.evaluate.text import text_tokens

    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 4)
    words = ("eval", tiny_artifact, "--text", text, "--window", 32, "--json")
    report = json.loads(edgeq(*words).stdout)
    model = package.load(tiny_artifact)
    whole = perplexity(model.logits, *text_tokens(model.tokenizer.encode, text.read_text()), 32)  # all through decode
    assert report["perplexity"] == pytest.approx(whole.perplexity, rel=1e-6)
    assert (report["tokens"], report["windows"]) == (whole.tokens, whole.windows)


def test_eval_of_a_missing_text_is_a_usage_error(tiny_artifact, tmp_path):
    result = edgeq("eval", tiny_artifact, "--text", tmp_path / "none.txt")
    assert result.exit_code == 2
    assert "none.txt" in result.stderr


@pytest.mark.parametrize("command", [("inspect",), ("run", "--prompt", "x"), ("profile",)])
def test_what_is_not_an_artifact_is_6(tmp_path, command):
    result = edgeq(command[0], tmp_path, *command[1:])
    assert result.exit_code == 6
    assert "edgeq.json" in result.stderr


@pytest.mark.parametrize("name", ["model.so", "weights.safetensors", "tokenizer.json"])
def test_a_flipped_byte_is_6(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    result = edgeq("run", copy, "--prompt", "x")
    assert result.exit_code == 6
    assert name in result.stderr or "weights" in result.stderr
    assert result.stdout == ""


def test_a_newer_schema_is_6(copy):
    body = json.loads((copy / "edgeq.json").read_text())
    (copy / "edgeq.json").write_text(json.dumps(body | {"schema_version": 999}))
    result = edgeq("inspect", copy)
    assert result.exit_code == 6
    assert "newer" in result.stderr


def test_another_cpu_s_artifact_is_7(copy):
    from dataclasses import replace

    manifests.write(replace(manifests.read(copy), target="arm64", files=hash_folder(copy)), copy)
    result = edgeq("run", copy, "--prompt", "x")
    assert result.exit_code == 7
    assert "arm64" in result.stderr
