"""Models of planes and of tables of four: artifacts compute what the reference says of the numbers chosen."""

from __future__ import annotations

import numpy as np
import pytest
from test_grids import compiled
from test_plan_reference import TOKENS, compare

from edgeq.artifact.manifest import read
from edgeq.runtime.loader import Session

CASES = {
    "two planes": ("p2a8", "fdb", {"p2g64"}),
    "tables behind a gather": ("w4a8", "billm", {"c4g128"}),
}


@pytest.mark.parametrize("case", CASES)
def test_an_artifact_computes_what_the_reference_says(case, tiny_model, tmp_path):
    bits, step, formats = CASES[case]
    data = {} if step == "fdb" else {"calib_samples": 4, "calib_length": 48}
    folder = compiled(tiny_model, tmp_path / "out", bits, step, {}, **data)
    error, ties = compare(folder)
    assert error < 1e-4
    assert ties.wrong == 0
    assert {t.format for t in read(folder).tensors if "proj" in t.name and t.format[0] in "pc"} == formats
    with Session(folder, threads=2) as session:
        steps = session.logits(TOKENS)[-1]
        session.rewind()
        session.feed(TOKENS)
        assert np.array_equal(session.last_logits(), steps)
