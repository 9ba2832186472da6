"""Fixtures that several folders share: a tiny model and what it compiles to."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Test files of different folders may share a name (--import-mode=importlib), so pytest adds no folder to the path;
# what tests share (tiny.py, kernels/everywhere.py, ...) is found through these.
sys.path += [str(folder) for folder in (HERE, *sorted(HERE.iterdir())) if folder.is_dir()]

from tiny import write_tiny_llama  # noqa: E402


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random Llama (2 layers, width 64) with tokenizer and chat template."""
    return write_tiny_llama(tmp_path_factory.mktemp("model") / "tiny-llama")


@pytest.fixture(scope="session")
def tiny_artifact(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same compiled to w4a8 for this machine, context 64, chunks of 16; to be read only."""
    import edgeq

    output = tmp_path_factory.mktemp("artifact") / "tiny"
    return edgeq.compile(str(tiny_model), bits="w4a8", output=output, context=64, chunk=16).path
