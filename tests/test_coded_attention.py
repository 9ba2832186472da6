"""`agq` through the whole road: an encoder's probabilities as codes in the artifact, beside what the ops compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_static_activations import (  # noqa: F401  (fixtures)
    LENGTH,
    TOKENS,
    compiled,
    differ,
    evaluate,
    quantized,
    text,
    tiny_bert,
)

from edgeq.frontend.entries import Shapes
from edgeq.ir.graph import arguments, calls
from edgeq.runtime.loader import Session


@pytest.mark.parametrize("step", ["agq", "agq{grid=int,bits=8}"])
def test_an_encoder_is_what_the_ops_compute(step: str, tiny_bert: Path, text: Path, tmp_path: Path) -> None:  # noqa: F811
    """Padding included: the mask hides the last 5 tokens."""
    shapes = Shapes(lengths=(LENGTH,))
    artifact = compiled(tiny_bert, text, "fp32", tmp_path / "artifact", shapes=shapes, passes=(step,))
    source, entry = quantized(tiny_bert, text, "fp32", (step,), (LENGTH,))
    assert all(arguments(node)["probs"] for node in calls(entry.gm, "edgeq.attention"))
    mask = (torch.arange(LENGTH) < LENGTH - 5).long()[None]
    given = {"input_ids": torch.tensor([TOKENS[:LENGTH]]), "attention_mask": mask}
    given["token_type_ids"] = torch.zeros(1, LENGTH, dtype=torch.int64)
    wanted = evaluate(source, entry, given)
    with Session(artifact.path, threads=2) as session:
        names = {tensor.name for tensor in session.entries[0].inputs}
        taken = {name: t.numpy().astype(np.int32) for name, t in given.items() if name in names}
        got = session.run(session.entries[0].name, **taken)
    kernels = {k for e in artifact.manifest["entries"] for region in e["regions"] for k in region["kernels"]}
    assert any(k.startswith(f"attend_{'int8' if 'int' in step else 'log2x4'}") for k in kernels)
    for name, want in wanted.items():
        assert differ(got[name], want.numpy()) < 1e-3, name
