"""Checkpoints of every method: values equal those that were packed, and graphs compute with the very codes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import checkpoints as made
import pytest
import torch
from torch import Tensor

from edgeq.compiling.options import make_options
from edgeq.compiling.prepared import Prepared, prepare
from edgeq.compiling.recipes_best import copied
from edgeq.errors import ModelError, UnsupportedError, UsageError
from edgeq.evaluate.graph import GraphModel
from edgeq.frontend import open_model
from edgeq.frontend.entries import EntryGraph, Shapes, load_entries
from edgeq.imports.record import AGAIN, KEPT, ROUNDED, receipt, to_json
from edgeq.ir.graph import arguments, calls
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import parse_pipeline, run_pipeline
from edgeq.quant.kinds import NF4

GROUP = {"quant_method": "compressed-tensors", "ignore": ["lm_head"]}


def settings(form: str, bits: int, size: int | None, kind: str = "int") -> dict[str, Any]:
    weights = {"num_bits": bits, "type": kind, "group_size": size, "symmetric": True}
    return {**GROUP, "format": form, "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}


def gptq_config(bits: int, size: int, form: str = "gptq") -> dict[str, Any]:
    return {"quant_method": "gptq", "bits": bits, "group_size": size, "checkpoint_format": form}


CASES: dict[str, tuple[dict[str, Any], made.Quantizer, str]] = {
    "gptq2": (gptq_config(2, 32, "gptq_v2"), made.gptq(2, 32, False, True), "w2g32a"),
    "gptq3": (gptq_config(3, 32), made.gptq(3, 32, False, False), "w3g32a"),
    "gptq4": (gptq_config(4, 64), made.gptq(4, 64, False, False), "w4g64a"),
    "gptq4 symmetric": (gptq_config(4, -1), made.gptq(4, 160, True, False), "w4"),
    "gptq8 act-order": (gptq_config(8, 32, "gptq_v2"), made.gptq(8, 32, True, True, True), "w8g32"),
    "awq": ({"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm"}, made.awq(32), "w4g32a"),
    "packed int4": (settings("pack-quantized", 4, 32), made.packed_integers(4, 32, True), "w4g32"),
    "packed int4a": (settings("pack-quantized", 4, 32), made.packed_integers(4, 32, False), "w4g32a"),
    "packed int8": (settings("pack-quantized", 8, None), made.packed_integers(8, 160, True), "w8"),
    "int8": (settings("int-quantized", 8, None), made.integers, "w8"),
    "fp8": (settings("float-quantized", 8, None, "float"), made.fp8, "fp8"),
    "mxfp4": (settings("mxfp4-pack-quantized", 4, 32, "float"), made.mxfp4, "mxfp4"),
    "bitnet": ({"quant_method": "bitnet", "linear_class": "bitlinear"}, made.bitnet, "t2"),
    "db-llm": ({"quant_method": "db-llm", "group_size": 32}, made.planes, "p2g32"),
}


@pytest.fixture(scope="module")
def entry(tiny_model: Path) -> EntryGraph:
    """The graph of the tiny model, which all of these checkpoints are of."""
    return load_entries(open_model(str(tiny_model)), Shapes())[0]


@pytest.fixture(autouse=True)
def exported_once(entry: EntryGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "edgeq.compiling.prepared.load_entries", lambda *_, **__: [replace(entry, gm=copied(entry.gm))]
    )


def kept(folder: Path, **options: Any) -> Prepared:
    return prepare(make_options(str(folder), **options), lambda *_: None)


def quantized(prepared: Prepared) -> dict[str, list[str]]:
    """Formats of linears after `quantize`, by module."""
    gm = prepared.entries[0].gm
    run_pipeline(gm, parse_pipeline("quantize{bits=w4a16}"), Context(prepared.source.weights))
    return {str(n.meta["hf"]): [arguments(n)["weight"]] for n in calls(gm, "edgeq.qlinear")}


def logits(prepared: Prepared) -> Tensor:
    ids = torch.arange(3, 12)[None]
    model = GraphModel(prepared.entries[0].gm, prepared.source.weights)
    return model.run({"input_ids": ids, "position_ids": torch.arange(9)[None]})[0]


@pytest.mark.parametrize("case", CASES)
def test_values_are_those_that_were_packed_and_codes_stay(case: str, tmp_path: Path) -> None:
    config, quantizer, fmt = CASES[case]
    if case == "gptq4 symmetric":
        quantizer = lambda module, w: made.gptq(4, w.shape[1], True, False)(module, w)  # noqa: E731
    if case == "packed int8":
        quantizer = lambda module, w: made.packed_integers(8, w.shape[1], True)(module, w)  # noqa: E731
    values = made.write(tmp_path / "m", config, quantizer)
    weights = open_model(str(tmp_path / "m")).weights
    for name, value in values.items():
        assert torch.equal(weights.read(name), value), name
    prepared = kept(tmp_path / "m")
    found = {record.format for record in prepared.source.imports}
    assert found == {fmt} and len(prepared.source.imports) == 14
    outcomes = {record.outcome for record in prepared.source.imports}
    assert outcomes == ({KEPT} if case not in ("int8",) else {ROUNDED})
    grid = calls(prepared.entries[0].gm, "edgeq.grid")[0]
    assert arguments(grid)["weight"] == fmt
    before = logits(prepared)
    formats = quantized(prepared)
    assert formats["model.layers.1.mlp.down_proj"] == [fmt]
    tolerance = 1e-2 if case == "int8" else 1e-4  # scales rounded to fp16
    torch.testing.assert_close(before, made.reference(values), rtol=tolerance, atol=tolerance)


def test_bitsandbytes_keeps_codes_and_rounds_levels(tmp_path: Path) -> None:
    config = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    values = made.write(tmp_path / "m", config, made.nf4(NF4))
    prepared = kept(tmp_path / "m")
    assert {record.outcome for record in prepared.source.imports} == {ROUNDED}
    name = "model.layers.0.mlp.up_proj.weight"
    found = prepared.source.weights.read(name)
    assert (found - values[name]).abs().max() <= 0.5 / 127 * values[name].abs().max()


def test_tequila_folds_its_dead_zone_into_a_bias(tmp_path: Path) -> None:
    def master(module: str, w: Tensor) -> tuple[made.Parts, Tensor]:
        scale = w.abs().reshape(len(w), -1, 32).mean(-1).half().float()
        return {"weight": w}, w * 0 + scale.repeat_interleave(32, 1)

    config = {"quant_method": "tequila", "group_size": 32}
    values = made.write(tmp_path / "m", config, master)
    prepared = kept(tmp_path / "m")
    linear = next(n for n in calls(prepared.entries[0].gm, "aten.linear") if "up_proj" in n.meta["hf"])
    name = f"{linear.meta['hf']}.weight"
    held = prepared.source.weights.stored.held(name)
    dead = held.codes == 1
    from safetensors.torch import load_file

    w = load_file(tmp_path / "m" / "model.safetensors")[name]
    assert torch.equal(dead, w.abs() <= held.scale.repeat_interleave(32, 1) / 2)
    bias = arguments(linear)["bias"]
    found = prepared.source.weights.read(str(bias.target))
    torch.testing.assert_close(found, (w * dead).sum(1) * 1e-3)
    torch.testing.assert_close(held.scale, values[name][:, ::32], rtol=1e-3, atol=0)


def test_a_group_of_another_size_is_refused_and_quantized_again_when_asked(tmp_path: Path) -> None:
    values = made.write(tmp_path / "m", gptq_config(4, 8), made.gptq(4, 8, False, False))
    with pytest.raises(UnsupportedError, match=r"groups of 8 weights.*\n--requantize"):
        kept(tmp_path / "m")
    prepared = kept(tmp_path / "m", requantize=True)
    assert {record.outcome for record in prepared.source.imports} == {AGAIN}
    name = "model.layers.0.mlp.up_proj.weight"
    assert torch.equal(prepared.source.weights.read(name), values[name])
    assert not calls(prepared.entries[0].gm, "edgeq.grid")


def test_bits_that_say_other_weights_are_refused_but_the_same_are_not(tmp_path: Path) -> None:
    config, quantizer, _ = CASES["gptq4"]
    made.write(tmp_path / "m", config, quantizer)
    assert {r.outcome for r in kept(tmp_path / "m", bits="w4a16g64a").source.imports} == {KEPT}
    assert {r.outcome for r in kept(tmp_path / "m", bits="keepa16kv8").source.imports} == {KEPT}
    with pytest.raises(UnsupportedError, match="--bits asks for w8, its codes are w4g64a"):
        kept(tmp_path / "m", bits="w8a8")
    found = kept(tmp_path / "m", bits="w8a8", requantize=True).source.imports
    assert receipt(to_json(found)) == ["GPTQ int4, groups of 64 -> as --bits says: 14 quantized again"]
    with pytest.raises(UsageError, match="no pass can change its weights"):
        kept(tmp_path / "m", recipe="balanced")


def test_keeping_means_nothing_to_a_float_model(tiny_model: Path) -> None:
    with pytest.raises(UsageError, match="no weight of it is quantized"):
        kept(tiny_model, bits="keepa8")
    with pytest.raises(UsageError, match="--requantize means nothing"):
        kept(tiny_model, requantize=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"quant_method": "hqq"}, "quantized by 'hqq'; edgeq reads gptq, awq"),
        ({"quant_method": "awq", "version": "gemv"}, "the layout `gemm`"),
        ({"quant_method": "gptq", "bits": 5}, "2, 3, 4, 8 bits"),
        ({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}, "'marlin'"),
    ],
)
def test_what_is_not_known_is_named(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    made.write(tmp_path / "m", change, made.gptq(4, 32, True, False))
    with pytest.raises(UnsupportedError, match=words):
        open_model(str(tmp_path / "m"))


def test_parts_that_contradict_each_other_name_the_weight(tmp_path: Path) -> None:
    def broken(module: str, w: Tensor) -> tuple[made.Parts, Tensor]:
        parts, values = made.gptq(4, 32, False, False)(module, w)
        return {**parts, "scales": parts["scales"][:1]}, values

    made.write(tmp_path / "m", gptq_config(4, 32), broken)
    with pytest.raises(ModelError, match=r"layers\.0.*qzeros stand for"):
        kept(tmp_path / "m")


def test_a_master_checkpoint_of_bitnet_is_rounded_as_it_would_run(tmp_path: Path) -> None:
    def master(module: str, w: Tensor) -> tuple[made.Parts, Tensor]:
        scale = 1.0 / w.abs().mean().clamp(min=1e-5)
        return {"weight": w}, (w * scale).round().clamp(-1, 1) / scale

    config = {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online"}
    values = made.write(tmp_path / "m", config, master)
    weights = open_model(str(tmp_path / "m")).weights
    for name in (name for name in values if "proj" in name):
        torch.testing.assert_close(weights.read(name), values[name], rtol=1e-6, atol=0)


def test_config_is_read_whole(tmp_path: Path) -> None:
    values = made.write(tmp_path / "m", CASES["awq"][0], CASES["awq"][1])
    assert json.loads(open_model(str(tmp_path / "m")).assets["config.json"])["quantization_config"] and values
