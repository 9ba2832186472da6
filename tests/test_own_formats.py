"""Formats of single linears through the whole road: said, checked, recorded, taken over."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import edgeq
from edgeq.artifact.manifest import read
from edgeq.cli.app import app
from edgeq.compiling.config import read_config, read_formats
from edgeq.compiling.options import make_options, record
from edgeq.errors import UsageError

FORMATS = {"model.layers.0.self_attn.v_proj": "w8", "*.down_proj": "w4g128a"}


def test_an_artifact_says_its_formats_and_is_made_again_with_them(tiny_model, tmp_path):
    given = {"calib": "none", "formats": FORMATS, "context": 32, "chunk": 16}
    made = edgeq.compile(str(tiny_model), bits="w4a8", output=tmp_path / "a", **given)
    manifest = read(made.path)
    found = {t.name: t.format for t in manifest.tensors}
    assert found["model.layers.0.self_attn.v_proj.weight"] == "w8"
    assert found["model.layers.1.mlp.down_proj.weight"] == "w4g128a"
    assert found["model.layers.0.self_attn.q_proj+k_proj.weight"] == "w4g32"
    assert manifest.recipe["options"]["formats"] == FORMATS
    assert read_config(made.path)["formats"] == FORMATS
    again = edgeq.recompile(made.path, tmp_path / "b")
    assert read(again.path).files == manifest.files


@pytest.mark.parametrize("bits", ["w4a4", "p2a16", "s8a16"])
def test_bits_without_kernels_are_refused_before_the_model_is_looked_at(bits, tmp_path):
    with pytest.raises(UsageError, match=r"have no kernel yet; simulate with"):
        edgeq.compile("/no/such/model", bits=bits, output=tmp_path / "out")
    with pytest.raises(UsageError, match=r"--formats \*: c4g128: a codebook of four with .*have no kernel"):
        edgeq.compile("/no/such/model", bits="w4a16", output=tmp_path / "out", formats={"*": "c4g128"})


def test_unknown_formats_and_modules_are_named(tiny_model, tmp_path):
    with pytest.raises(UsageError, match=r"--formats a\.b: weight format 'w9' is not known"):
        make_options("m", formats={"a.b": "w9"})
    with pytest.raises(UsageError, match=r"q_prj names no linear of .* \(such as model\.layers\.0"):
        edgeq.compile(str(tiny_model), output=tmp_path / "out", formats={"*.q_prj": "w8"}, calib="none")
    assert not (tmp_path / "out").exists()


def test_a_file_of_formats_is_read_and_checked(tmp_path):
    file = tmp_path / "formats.json"
    file.write_text(json.dumps(FORMATS))
    assert read_formats(file) == FORMATS
    assert record(make_options("m", formats=read_formats(file)))["formats"] == FORMATS
    file.write_text('{"a": 4}')
    with pytest.raises(UsageError, match="a has no format"):
        read_formats(file)
    file.write_text("[]")
    result = CliRunner().invoke(app, ["compile", "m", "--formats", str(file), "-o", str(tmp_path / "out")])
    assert result.exit_code and "--formats" in str(result.output or result.exception)
    whole = tmp_path / "options.json"
    whole.write_text(json.dumps({"model": "m", "formats": {"a": 1}}))
    with pytest.raises(UsageError, match="give an object of texts"):
        read_config(whole)
