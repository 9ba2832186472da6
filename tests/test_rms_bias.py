"""Shifts folded into RMS norms, compiled: the norm kernel adds them, and quantization that takes a norm in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_folded_models import FoldRandom, registered  # noqa: F401  (a fixture)

import edgeq
from edgeq.frontend.entries import Shapes, load_entries
from edgeq.frontend.source import open_model
from edgeq.ir.execute import Reference
from edgeq.ir.graph import arguments, calls
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import parse_pipeline, run_pipeline
from edgeq.runtime.loader import Session

TOKENS = (np.arange(24) * 37 % 200).tolist()


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(("bits", "most"), [("w4a16", 1e-4), ("w8a8", 0.05)])
def test_biased_rms_norms_are_what_the_reference_computes(bits: str, most: float, tiny_model: Path, tmp_path: Path):
    passes = f"fold-random,add-cache{{context=64}},last-row,merge-linears,quantize{{bits={bits}}}"
    source = open_model(str(tiny_model))
    graph = load_entries(source, Shapes())[0].gm
    run_pipeline(graph, parse_pipeline(passes), Context(source.weights))
    norms = calls(graph, "edgeq.rms_norm")
    assert len(norms) == 5 and all(arguments(norm)["b"] is not None for norm in norms[:4])
    options = {"bits": bits, "output": tmp_path / "artifact", "context": 64, "chunk": 16, "passes": (FoldRandom.name,)}
    with Session(edgeq.compile(str(tiny_model), **options).path, threads=2) as session:  # type: ignore[arg-type]
        rows = session.logits(TOKENS)
    wanted = Reference(graph, source.weights).forward(TOKENS).numpy()
    assert np.abs(rows - wanted).max() < most * np.abs(wanted).max()
    with Session(tmp_path / "artifact", threads=2) as session:
        session.feed(TOKENS)
        assert np.array_equal(session.last_logits(), rows[-1])
