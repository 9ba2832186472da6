from __future__ import annotations

import numpy as np
import pytest
from everywhere import everywhere

from edgeq.errors import UnsupportedError
from edgeq.kernels import activation, elementwise

WIDTH = 64
KERNELS = {name: elementwise.unary(WIDTH, name) for name in activation.NAMES}


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels(KERNELS.values())


def samples() -> np.ndarray:
    rng = np.random.default_rng(1)
    special = [0.0, -0.0, 1e-30, -1e-30, 1e4, -1e4, 1e20, -1e20, 0.65, -0.65, 3.0, -3.0, 87.0, -87.0, 104.0, -104.0]
    x = np.concatenate([special, np.linspace(-12, 12, 30 * WIDTH - 16), rng.normal(size=34 * WIDTH) * 1.5])
    return x.astype(np.float32).reshape(WIDTH, WIDTH)


@pytest.mark.parametrize("name", activation.NAMES)
def test_matches_float64(lib, name):
    x = samples()
    o = everywhere(lib, KERNELS[name], [(0, 5), (5, WIDTH)], m=WIDTH, a=x, o=np.zeros_like(x))["o"]
    np.testing.assert_allclose(o, activation.reference(name, x), rtol=2e-6, atol=3e-7)


def test_negative_tail_of_gelu_keeps_its_digits(lib):
    x = np.full((1, WIDTH), -5.0, np.float32)  # 0.5 * x * (1 + erf) would lose all but two digits here
    o = everywhere(lib, KERNELS["gelu"], [(0, 1)], m=1, a=x, o=np.zeros_like(x))["o"]
    np.testing.assert_allclose(o, -5 * 2.866515718791939e-07, rtol=1e-5)


def test_nan_stays_nan(lib):
    x = np.full((1, WIDTH), np.nan, np.float32)
    for name in ("silu", "gelu", "gelu_tanh", "quick_gelu"):
        assert np.isnan(everywhere(lib, KERNELS[name], [(0, 1)], m=1, a=x, o=np.zeros_like(x))["o"]).all()


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(UnsupportedError, match=r"softsign.*quick_gelu"):
        elementwise.gated(WIDTH, "softsign")
