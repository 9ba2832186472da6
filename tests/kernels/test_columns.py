"""Gathered columns against numpy, equal bits on every ISA."""

from __future__ import annotations

import numpy as np
import pytest
from everywhere import everywhere

from edgeq.errors import UnsupportedError
from edgeq.kernels import columns as C

CASES = [(48, 32, 0), (37, 21, 0), (20, 50, 64)]  # width, count, ld
KERNELS = {case: C.columns(*case) for case in CASES}


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels(KERNELS.values())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_columns_are_picked_and_pad_lanes_are_zero(lib, rng, case):
    width, count, ld = case
    x = np.full((5, ld or C.padded(width)), np.nan, np.float32)
    x[:, :width] = rng.normal(size=(5, width))
    index = np.full(C.padded(count), -1, np.int32)
    index[:count] = rng.integers(-1, width, count)
    out = np.full((5, C.padded(count)), np.nan, np.float32)
    got = everywhere(lib, KERNELS[case], [(0, 2), (2, 2), (2, 5)], m=5, x=x, index=index, o=out)["o"]
    assert np.array_equal(got[:, :count], C.reference(x[:, :width], index[:count]))
    assert not got[:, count:].any()


def test_rows_that_overlap_are_refused():
    with pytest.raises(UnsupportedError, match="floats apart"):
        C.columns(48, 32, 32)
