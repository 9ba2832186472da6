"""Attention over signs: float64 of the same signs, with masks and biases as `attend`, equal bits on all ISAs."""

from __future__ import annotations

import numpy as np
import pytest
from everywhere import everywhere
from test_attend import Case, inputs, rows, spread

from edgeq.errors import UnsupportedError
from edgeq.kernels import attend, attend_signs
from edgeq.kernels.naming import padded

CASES = {
    "minilm": Case(2, 37, 37, 3, 3, 32, 32, pad=True),
    "five words, over chunks": Case(1, 17, 300, 2, 1, 136, 16, causal=True),
    "softcap in a window": Case(1, 40, 40, 3, 3, 20, 4, left=9, right=3, softcap=2.0, bias="full:1,3"),
}


def kernels(c: Case):
    ld = padded(c.H * c.D), padded(c.HK * c.Dv)
    flags = (c.D**-0.5, c.causal, c.left, c.right, c.softcap, c.pad, c.bias)
    keys = attend_signs.pack_keys(c.B, c.L, c.HK, c.D, padded(c.HK * c.D) + 16)
    return keys, attend_signs.attend_signs(c.B, c.S, c.L, c.H, c.HK, c.D, c.Dv, *ld, *flags)


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels([kernel for case in CASES.values() for kernel in kernels(case)])


def run(lib, case: Case, given: dict) -> tuple[np.ndarray, np.ndarray]:
    """(packed keys, outputs)."""
    keys, kernel = kernels(case)
    units, width = attend.units(kernel), padded(case.H * case.Dv)
    o = np.full(case.B * case.L * attend_signs.key_bytes(case.HK, case.D) // 4, 7, np.uint32)
    half = case.B * case.L // 2
    ranges = [(0, half), (half, case.B * case.L)]
    packed = everywhere(lib, keys, ranges, k=rows(given["k"], keys.options["ldk"]), o=o)["o"]
    arrays = {name: rows(given[name], kernel.options[f"ld{name}"]) for name in "qv"} | {"k": packed}
    for name in ("pad", "bias", "row_bias", "column_bias"):
        arrays[name] = None if given.get(name) is None else spread(given[name])
    scratch = np.full(attend_signs.scratch_bytes(kernel) // 4, np.nan, np.float32)
    o = np.full((case.B * case.S, width), np.nan, np.float32)
    ranges = [(a, min(a + 3, units)) for a in range(0, units, 3)]
    o = everywhere(lib, kernel, ranges, scratch=scratch, o=o, **arrays)["o"]
    assert (o[:, case.H * case.Dv :] == 0).all()
    return packed, o[:, : case.H * case.Dv]


@pytest.mark.parametrize("name", CASES)
def test_matches_float64_of_the_same_signs(lib, rng, name):
    case, given = CASES[name], inputs(CASES[name], rng)
    given["q"][0, 0, 0], given["k"][0, 0, 0, 0] = 0, -0.0  # a query of zeros, and a zero with a sign: both count as +1
    packed, found = run(lib, case, given)
    want = attend_signs.packed_keys(given["k"]).reshape(-1, packed.size // (case.B * case.HK * case.L))
    have = packed.reshape(want.shape)
    assert np.array_equal(have[:, :-1], want[:, :-1])
    np.testing.assert_allclose(have[:, -1].view(np.float32), want[:, -1].view(np.float32), rtol=1e-5)
    flags = case.causal, case.left, case.right, case.softcap, given["pad"], given["bias"]
    names = ("causal", "left", "right", "softcap", "pad", "bias")
    values = [given[x] for x in "qkv"]
    o = attend_signs.reference(*values, case.D**-0.5, **dict(zip(names, flags, strict=True)))
    o = o.reshape(case.B * case.S, -1)
    assert np.abs(found - o).max() <= 5e-6 * np.abs(o).max()


def test_heads_that_no_byte_counts_are_refused():
    with pytest.raises(UnsupportedError, match="1000 channels; at most 992"):
        attend_signs.attend_signs(1, 16, 16, 1, 1, 1000, 16, 1008, 16, 1.0)
