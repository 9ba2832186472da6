"""An artifact's decode steps beside the reference executor, which runs the same compressed graph in torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from replay_models import compile_case, rebuild
from verification.codes import Steps, Ties

from edgeq.ir.execute import Reference
from edgeq.runtime.loader import Session

TOKENS = (np.arange(40) * 37 % 200).tolist()


def compare(folder: Path) -> tuple[float, Ties]:
    """(largest difference of a logit over the largest logit, what became of ties) of 40 tokens."""
    plan, ties = rebuild(folder), Ties(width=0.01)
    with Session(folder, threads=1) as session:
        steps = Steps(session, plan.plan)
        rows, codes = zip(*(steps.run(token, i) for i, token in enumerate(TOKENS)), strict=True)
    ties.expect([np.stack(parts) for parts in zip(*codes, strict=True)])
    with ties.followed():
        wanted = Reference(plan.graph, plan.source.weights).forward(TOKENS).numpy()
    return float(np.abs(np.stack(rows) - wanted).max() / np.abs(wanted).max()), ties


def test_int8_activations_with_ties_rounded_alike(tiny_artifact: Path):
    error, ties = compare(tiny_artifact)
    assert error < 1e-4
    assert ties.total > 40 * 2 * (3 * 64 + 160)
    assert ties.wrong == 0
    assert ties.moved < 1e-3 * ties.total


@pytest.mark.parametrize("case", ["llama-w4a16", "llama-fp32"])
def test_float_activations(case: str, tmp_path: Path):
    error, ties = compare(compile_case(case, tmp_path))
    assert error < 1e-4
    assert ties.total == 0
