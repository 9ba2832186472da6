"""Profiling in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeq.errors import TargetError
from edgeq.measure.profile import profile
from edgeq.runtime import loader


def test_an_artifact_of_another_target_is_refused_before_bandwidth_is_measured(
    tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "native_name", lambda: "mips")
    said: list[str] = []
    with pytest.raises(TargetError, match=r"was compiled for .*, this is mips"):
        profile(tiny_artifact, progress=lambda stage, done, total: said.append(stage))
    assert not said
