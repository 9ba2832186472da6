from __future__ import annotations

import numpy as np
import pytest
from everywhere import everywhere

from edgeq.kernels import count

LENGTHS = (1, 7, 16, 45)
KERNELS = {length: count.count(length) for length in LENGTHS}


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels(KERNELS.values())


@pytest.mark.parametrize("length", LENGTHS)
def test_nonzero_entries_are_counted(lib, rng, length):
    for high in (1, 2, 3):  # none, some, and values other than 0 and 1
        mask = rng.integers(1 - high, high, length).astype(np.int32)
        n = everywhere(lib, KERNELS[length], [(0, 1)], mask=mask, n=np.zeros(1, "i4"))["n"]
        assert n[0] == count.reference(mask)


def test_an_empty_range_writes_nothing(lib):
    result = everywhere(lib, KERNELS[7], [(1, 1)], mask=np.ones(7, "i4"), n=np.full(1, 9, "i4"))
    assert result["n"][0] == 9
