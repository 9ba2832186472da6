"""`sign-attention`: what it marks, what the op means, and an artifact that counts bits and says what the graph says."""

from __future__ import annotations

import numpy as np
import pytest
import static_zoo
import torch

from edgeq.artifact.manifest import read
from edgeq.calibrate.samples import Sample
from edgeq.calibrate.stream import stream
from edgeq.compiling.calibrated import run_all
from edgeq.compiling.compiler import compile_into
from edgeq.compiling.config import read_config
from edgeq.compiling.options import make_options
from edgeq.errors import VerifyError
from edgeq.frontend.entries import load_entries
from edgeq.frontend.source import open_model
from edgeq.ir.graph import calls, inputs, output
from edgeq.ir.text import parse, show
from edgeq.ir.verify import verify
from edgeq.measure.machine import this_machine
from edgeq.passes.pipeline import parse_pipeline, run_pipeline
from edgeq.runtime.loader import Session
from edgeq.targets import find

STATIC = """
%x = input : f32[1, 8, 48]
%w = weight w : f32[48, 48]
%q = aten.linear(%x, %w) : f32[1, 8, 48] @ a.q
%y = edgeq.attention(%q, %x, %x, heads=3, kv_heads=3, scale=0.25, causal=False) : f32[1, 8, 48] @ a
return %y
""".strip()


def test_queries_and_keys_are_marked_once():
    gm = parse(STATIC)
    report = run_pipeline(gm, parse_pipeline("sign-attention"))[0]
    assert [site.what for site in report.changed] == ["scores of signs"]
    assert len(calls(gm, "edgeq.sign_heads")) == 2
    again = run_pipeline(gm, parse_pipeline("sign-attention,sign-attention{only=b}"))
    assert not again[0].changed and "already" in again[0].declined[0].what and not again[1].declined


def test_the_op_is_signs_times_means_by_head():
    x = torch.tensor([[[1.0, -3.0, 0.0, -2.0]]])
    assert torch.ops.edgeq.sign_heads(x, heads=2).tolist() == [[[2.0, -2.0, 1.0, -1.0]]]


def test_signs_are_read_by_attention_alone():
    text = STATIC.replace("%y = edgeq.attention(%q, %x,", "%s = edgeq.sign_heads(%q, heads=3) : f32[1, 8, 48]\n"
                          "%y = edgeq.attention(%s, %x,")  # fmt: skip
    with pytest.raises(VerifyError, match="queries and keys"):
        verify(parse(text))


def test_a_cached_attention_keeps_its_scores():
    gm = parse(STATIC.replace("8", "s", 1).replace("[1, 8,", "[1, s,"))
    (report,) = run_pipeline(gm, parse_pipeline("sign-attention"))
    assert not report.changed and "cached" in report.declined[0].what


def test_an_encoder_counts_bits(tmp_path):
    static_zoo.save("bert", tmp_path / "model")
    given = make_options(str(tmp_path / "model"), bits="fp32", passes=["sign-attention"], lengths=(8,))
    folder = tmp_path / "artifact"
    folder.mkdir()
    compile_into(folder, given, lambda *_: None)
    gm, weights = lowered(folder)
    assert "edgeq.sign_heads" in show(gm)
    ids = {name: np.ones((1, 8), np.int32) if "mask" in name else np.zeros((1, 8), np.int32) for name in inputs(gm)}
    ids["input_ids"] = np.arange(8, dtype=np.int32)[None]
    sample = Sample({name: torch.from_numpy(x).long() for name, x in ids.items()}, torch.ones(8, dtype=torch.bool))
    results = [node for node in output(gm).args[0] if node.op == "call_function"]
    wanted = {}
    stream(gm, weights, [sample], results.__contains__,
           lambda block, seen: wanted.update({n: seen.values(n)[0] for n in results if n in seen}))  # fmt: skip
    variants, has, found = read(folder).variants, this_machine().features, []
    assert [v["name"] for v in variants] == [isa.name for isa in find("native").every]
    for name in (v["name"] for v in variants if set(v["needs"]) <= has):
        with Session(folder, threads=2, variant=name) as session:
            found.append(session.run("text_8", **ids))
    for node, (name, got) in zip(results, found[0].items(), strict=True):
        assert all(other[name].tobytes() == got.tobytes() for other in found)
        assert np.abs(got - wanted[node].numpy()).max() < 1e-4 * np.abs(got).max()


def lowered(folder):
    """The graph that an encoder's artifact was lowered from, and its weights."""
    options = make_options(**read_config(folder))
    source = open_model(options.model)
    entry = load_entries(source, options.shapes)[0]
    run_all([entry], source, options, 0, lambda *_: None)
    return entry.gm, source.weights
