from __future__ import annotations

import pytest
import torch

from edgeq.calibrate.samples import text_sample
from edgeq.frontend.entries import Shapes, load_entries
from edgeq.frontend.source import open_model
from tests.tiny import write_tiny_llama


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A tiny Llama: (source, entries)."""
    source = open_model(str(write_tiny_llama(tmp_path_factory.mktemp("sensitivity") / "llama")))
    return source, load_entries(source, Shapes())


@pytest.fixture(scope="session")
def texts():
    noise = torch.Generator().manual_seed(0)
    made = [text_sample(torch.randint(0, 250, (96,), generator=noise).tolist()) for _ in range(6)]
    return lambda gm: made
