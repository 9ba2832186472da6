"""Fixtures of kernel tests: libraries of kernels, random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from kernel_library import Library

from edgeq.kernels.kernel import Kernel


@pytest.fixture(scope="module")
def compile_kernels(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Iterable[Kernel]], Library]:
    """`compile_kernels(kernels)` -> Library with every kernel for every ISA that can be run here."""
    return lambda kernels: Library(kernels, tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
