from __future__ import annotations

import numpy as np
import pytest
from everywhere import aligned, everywhere

from edgeq.errors import UnsupportedError
from edgeq.kernels import norm

CASES = {  # (width, kind, eps, offset, heads, weight, bias)
    "rms": (576, "rms", 1e-5, 0.0, 1, True, False),
    "gemma": (96, "rms", 1e-6, 1.0, 1, True, False),
    "per head": (192, "rms", 1e-6, 0.0, 4, True, False),
    "no weight": (80, "rms", 1e-6, 0.0, 1, False, False),
    "layer": (96, "layer", 1e-5, 0.0, 1, True, True),
    "layer without bias": (112, "layer", 1e-5, 0.0, 1, True, False),
    "plain layer": (16, "layer", 1e-5, 0.0, 1, False, False),
    "layer, ragged": (72, "layer", 1e-5, 0.0, 1, True, True),
    "rms, ragged": (9, "rms", 1e-5, 1.0, 1, True, False),
    "layer of ragged heads": (60, "layer", 1e-5, 0.0, 3, True, True),
    "rms with bias": (72, "rms", 1e-5, 1.0, 1, True, True),
    "rms with a bias alone": (48, "rms", 1e-5, 0.0, 1, False, True),
    "rms of ragged heads": (40, "rms", 1e-5, 0.0, 2, False, False),
}
KERNELS = {name: norm.norm(*case) for name, case in CASES.items()}


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels(KERNELS.values())


@pytest.mark.parametrize("case", CASES)
def test_matches_float64(lib, rng, case):
    width, kind, eps, offset, heads, weight, bias = CASES[case]
    x = (rng.normal(size=(5, width)) * 3 + (20 if kind == "layer" else 0)).astype(np.float32)
    x[1], x[2, 0] = 0, 3000
    w = rng.normal(size=width // heads).astype(np.float32) if weight else None
    b = rng.normal(size=width // heads).astype(np.float32) if bias else None
    rows = np.pad(x, ((0, 0), (0, -width % 16)))
    o = everywhere(lib, KERNELS[case], [(0, 2), (2, 5)], m=5, x=rows, w=w, b=b, o=np.full_like(rows, np.nan))["o"]
    assert (o[:, width:] == 0).all()
    o = o[:, :width]
    expected = norm.reference(x, w, b, kind, eps, offset, heads)
    np.testing.assert_allclose(o, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_zero_row_gives_zeros(lib):
    x = np.zeros((1, 576), np.float32)
    o = everywhere(lib, KERNELS["rms"], [(0, 1)], m=1, x=x, w=np.ones(576, "f4"), b=None, o=np.ones_like(x))["o"]
    assert (o == 0).all()


def test_in_place(lib, rng):
    x, w = rng.normal(size=(2, 576)).astype(np.float32), np.ones(576, "f4")
    apart = everywhere(lib, KERNELS["rms"], [(0, 2)], m=2, x=x, w=w, b=None, o=np.zeros_like(x))["o"]
    for isa in lib.isas:
        memory = aligned(x)
        lib(isa, KERNELS["rms"], 0, 2, 2, memory, aligned(w), None, memory)
        assert np.array_equal(memory, apart), isa.name


@pytest.mark.parametrize(
    ("args", "message"), [((40, "rms", 1e-5, 0.0, 3), "40 channels"), ((64, "batch", 1e-5), "batch")]
)
def test_refusals(args, message):
    with pytest.raises(UnsupportedError, match=message):
        norm.norm(*args)
