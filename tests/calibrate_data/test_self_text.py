"""Text that a model writes itself: reproducible, of the asked size, and gone without a trace."""

from __future__ import annotations

import tempfile
from pathlib import Path

from edgeq.calibrate.data import open_data
from edgeq.frontend.source import open_model


def test_a_model_writes_its_own_calibration_text(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stages: list[str] = []
    source = open_model(str(tiny_model))
    data = open_data("self", source, 3, 4, 40, lambda stage, done, total: stages.append(stage))
    assert [len(ids) for ids in data.part.tokens] == [40] * 4
    assert [len(ids) for ids in data.held_out().part.tokens] == [40]
    assert len({ids[0] for ids in data.part.tokens}) > 1  # texts begin all over the vocabulary
    assert data.description == "4 texts of 40 tokens that the model generated"
    assert "generate calibration text" in stages
    assert list(Path(tmp_path).iterdir()) == []
    again = open_data("self", source, 3, 2, 40)
    assert again.part.tokens == data.part.tokens[:2]  # a text depends on the seed and its number alone
    assert open_data("self", source, 4, 2, 40).part.tokens != again.part.tokens
