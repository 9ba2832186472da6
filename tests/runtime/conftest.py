from __future__ import annotations

import pytest
from toy_model import Toy, build


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return build(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return build(tmp_path_factory.mktemp("other"), seed=1, vocab=57, bias=5, best=False)


@pytest.fixture(scope="session")
def static_toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """Static entries alone."""
    return build(tmp_path_factory.mktemp("static"), plan="toy_static.c", tokens=False)


@pytest.fixture(scope="session")
def encoder_decoder(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """Static entries, and a decode that needs one of them to have run."""
    return build(tmp_path_factory.mktemp("encdec"), plan="toy_static.c")
