from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tokenizer_native import NativeTokenizer, library, native
from tokenizer_zoo import make


@pytest.fixture(scope="session")
def c_library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return library(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def both(c_library: ctypes.CDLL, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """both(name) -> the tokenizer of the zoo, and the C opened on what it compiles to."""
    folder: Path = tmp_path_factory.mktemp("cache")

    @cache
    def pair(name: str) -> tuple[Any, NativeTokenizer]:
        tokenizer, tokenizer_json = make(name, folder)
        return tokenizer, native(c_library, tokenizer_json)

    return pair
