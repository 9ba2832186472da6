from __future__ import annotations

import pytest
from toy_model import Toy, build


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return build(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return build(tmp_path_factory.mktemp("other"), seed=1, vocab=57, bias=5, best=False)
