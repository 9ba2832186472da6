"""Weights that a pass put on a grid: the very numbers are packed, and artifacts compute what the reference says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import static_zoo
import torch
from hand_grid import draw, known
from replay_models import CONTEXT, LLAMA, runnable
from test_plan_reference import TOKENS, compare

from edgeq.artifact.manifest import read
from edgeq.calibrate.samples import Sample
from edgeq.calibrate.stream import stream
from edgeq.compiling.calibrated import run_all
from edgeq.compiling.compiler import compile_into
from edgeq.compiling.config import read_config
from edgeq.compiling.options import Options, make_options
from edgeq.frontend.entries import load_entries
from edgeq.frontend.source import open_model
from edgeq.ir.graph import calls, inputs, output
from edgeq.ir.text import parse
from edgeq.lower.weights import WeightTable
from edgeq.passes.grids import put_on_grid
from edgeq.passes.pipeline import parse_pipeline, run_pipeline
from edgeq.quant.format import WeightFormat
from edgeq.quant.pack import unpack
from edgeq.runtime.loader import Session
from edgeq.targets import find

GATED = """
%x = input : f32[1, s, {k}]
%gate_w = weight gate.weight : f32[{n}, {k}]
%up_w = weight up.weight : f32[{n}, {k}]
%gate = aten.linear(%x, %gate_w) : f32[1, s, {n}] @ m.gate
%up = aten.linear(%x, %up_w) : f32[1, s, {n}] @ m.up
%y = edgeq.gated(%gate, %up, act='silu') : f32[1, s, {n}] @ m
return %y
"""


class NoWeights:
    """Packing reads nothing but the tables."""

    def names(self):
        return ["gate.weight", "up.weight"]

    def dtype(self, name):
        return "BF16"


@pytest.mark.parametrize("interleave", [False, True])
@pytest.mark.parametrize("text, columns", [("w4g32", 80), ("w4g64a", 144), ("w8", 64), ("w8g32a", 40), ("w4g128a", 24)])
def test_given_numbers_are_packed_as_they_are(text, columns, interleave):
    fmt, rows = WeightFormat.parse(text), 48
    gm = parse(GATED.format(n=rows, k=columns).strip())
    drawn = [draw(rows, columns, fmt, seed) for seed in (1, 2)]
    for linear, tables in zip(calls(gm, "aten.linear"), drawn, strict=True):
        put_on_grid(gm, linear, *tables, fmt)
    run_pipeline(gm, parse_pipeline("quantize{bits=w4a8},merge-linears") if columns % 16 == 0 else [])
    table = WeightTable(NoWeights())
    node = calls(gm, "edgeq.qlinear")[0] if columns % 16 == 0 else None
    if node is None:
        grid = calls(gm, "edgeq.grid")[0]
        name, drawn = table.matrix(grid.args[0], fmt, False, *grid.args[1:]), drawn[:1]
    else:
        name = table.matrix(node.args[1], fmt, interleave, *(t for t in node.args[4:]))
    stored = table.tensors[name]
    whole = -(-columns // 16) * 16
    found = unpack(np.concatenate(list(stored.chunks())), len(drawn) * rows, whole, fmt)
    wanted = [None if part[0] is None else torch.cat(part).numpy() for part in zip(*drawn, strict=True)]
    if interleave and node is not None:
        wanted = [x if x is None else x.reshape(2, -1, 16, x.shape[1]).swapaxes(0, 1).reshape(x.shape) for x in wanted]
    assert np.array_equal(found[0][:, :columns], wanted[0])
    point = wanted[2][:, -1:] if wanted[2] is not None else fmt.zero_point
    assert (found[0][:, columns:] == point).all()
    for got, want in zip(found[1:], wanted[1:], strict=True):
        assert (got is None and want is None) or np.array_equal(got, want)
    if node is not None:
        assert stored.sources == ("gate.weight", "up.weight") and stored.logical == (2 * rows, columns)


def test_equal_codes_of_other_scales_are_two_tensors():
    fmt = WeightFormat.parse("w4g32")
    gm = parse(GATED.format(n=32, k=64).strip())
    codes, scale, _ = draw(32, 64, fmt)
    for linear, factor in zip(calls(gm, "aten.linear"), (1, 2), strict=True):
        put_on_grid(gm, linear, codes, scale * factor, None, fmt)
    run_pipeline(gm, parse_pipeline("quantize{bits=w4a8}"))
    table = WeightTable(NoWeights())
    names = {table.matrix(n.args[1], fmt, False, n.args[4]) for n in calls(gm, "edgeq.qlinear")}
    assert names == {"gate.weight", "up.weight"}


def test_layers_that_share_a_weight_share_its_codes():
    text = GATED.format(n=32, k=64).strip().replace("%up_w = weight up.weight : f32[32, 64]\n", "")
    gm, fmt = parse(text.replace("%up_w", "%gate_w")), WeightFormat.parse("w4g32a")
    for _ in range(2):  # a second time, over the first grid
        for linear in calls(gm, "aten.linear"):
            put_on_grid(gm, linear, *draw(32, 64, fmt), fmt)
    run_pipeline(gm, parse_pipeline("quantize{bits=w4a8}"))
    table = WeightTable(NoWeights())
    names = [table.matrix(n.args[1], fmt, False, *n.args[4:]) for n in calls(gm, "edgeq.qlinear")]
    assert names == ["gate.weight"] * 2 and table.tensors["gate.weight"].sources == ("gate.weight",)


QKV = "q_proj:w4g32;k_proj:w8;v_proj:w4g128a"
CASES = {
    "one format": ("w4a8", "hand-grid{bits=w4g64a}", {}),
    "each its own": ("w4a8", f"hand-grid{{formats={QKV};gate_proj:w8g32;down_proj:w8}}", {}),
    "v alone": ("w4a8", "hand-grid{formats=v_proj:w8g64a}", {}),
    "given and searched": ("w4a8g64", "hand-grid{bits=w4g128,only=k_proj}", {"*.q_proj": "w8", "*.down_proj": "w8"}),
    "searched": ("w4a8g128a", "", {"*.v_proj": "w8", "*.up_proj": "w4g32", "model.layers.0.mlp.down_proj": "w8"}),
    "float": ("w4a16", f"hand-grid{{formats={QKV};up_proj:w8}}", {"*.o_proj": "f16"}),
    "a float among integers": ("w8a8kv32", "", {"*.q_proj": "f16", "*.down_proj": "f32"}),
}


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(**LLAMA, num_key_value_heads=2, tie_word_embeddings=True)
    folder = tmp_path_factory.mktemp("llama") / "model"
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def compiled(model: Path, folder: Path, bits: str, passes: str, formats: dict[str, str], **more) -> Path:
    given = make_options(str(model), bits=bits, context=CONTEXT, chunk=32, passes=[passes] if passes else [],
                         formats=formats, calib="" if passes else "none", **more)  # fmt: skip
    options: Options = replace(given, target=replace(find("native"), isas=runnable()[:1]))
    folder.mkdir()
    compile_into(folder, options, lambda *_: None)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_an_artifact_computes_what_the_reference_says_of_the_codes(case, llama, tmp_path):
    with known():
        folder = compiled(llama, tmp_path / "artifact", *CASES[case])
        error, ties = compare(folder)
    assert error < 1e-4
    assert ties.wrong == 0
    with Session(folder, threads=2) as session:
        steps = session.logits(TOKENS)[-1]
        session.rewind()
        session.feed(TOKENS)
        assert np.array_equal(session.last_logits(), steps)  # chunks, q, k and v written side by side
    names = [t.name for t in read(folder).tensors]
    assert any(name.startswith("model.layers.0.self_attn.q_proj") for name in names)
    assert not any("codes" in name for name in names)


BERT = "query:w8g32;key:w4g32;value:w4g32;intermediate:w4g128a"


@pytest.mark.parametrize("bits, tolerance", [("w4a16", 1e-4), ("w4a8", 0.05)])
def test_an_encoder_too(bits, tolerance, tmp_path):
    static_zoo.save("bert", tmp_path / "model")
    passes = f"hand-grid{{bits=w4g64a,formats={BERT}}}"
    with known():
        folder = compiled(tmp_path / "model", tmp_path / "artifact", bits, passes, {}, lengths=(8,))
        gm, weights = quantized(folder)
    ids = np.arange(8, dtype=np.int32)[None]
    given = {name: np.ones((1, 8), np.int32) if "mask" in name else ids * ("ids" in name) % 2 for name in inputs(gm)}
    given["input_ids"] = ids
    sample = Sample({name: torch.from_numpy(x).long() for name, x in given.items()}, torch.ones(8, dtype=torch.bool))
    results = [node for node in output(gm).args[0] if node.op == "call_function"]
    wanted = {}
    stream(gm, weights, [sample], results.__contains__,
           lambda block, seen: wanted.update({n: seen.values(n)[0] for n in results if n in seen}))  # fmt: skip
    with Session(folder, threads=1) as session:
        found = session.run("text_8", **given)
    for node, got in zip(results, found.values(), strict=True):
        assert np.abs(got - wanted[node].numpy()).max() < tolerance * np.abs(got).max()


def quantized(folder: Path):
    """The graph that an encoder's artifact was lowered from, and its weights."""
    options = make_options(**read_config(folder))
    source = open_model(options.model)
    entry = load_entries(source, options.shapes)[0]
    run_all([entry], source, options, 0, lambda *_: None)
    return entry.gm, source.weights
