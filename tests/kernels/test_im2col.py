from __future__ import annotations

import numpy as np
import pytest
from everywhere import everywhere

from edgeq.errors import UnsupportedError
from edgeq.kernels import im2col
from edgeq.kernels.naming import padded

CASES = {  # B, H, W, C, ldx, kernel, stride, padding, dilation
    "resnet stem": (2, 11, 13, 3, 16, (7, 7), (2, 2), (3, 3), (1, 1)),
    "patches of a dense image": (1, 12, 8, 3, 3, (4, 4), (4, 4), (0, 0), (1, 1)),
    "3x3": (1, 5, 6, 20, 32, (3, 3), (1, 1), (1, 1), (1, 1)),
    "dilated": (1, 9, 8, 16, 16, (3, 2), (1, 2), (2, 0), (2, 3)),
    "strided 1x1": (2, 5, 4, 40, 48, (1, 1), (2, 2), (0, 0), (1, 1)),
    "one row (audio)": (1, 1, 30, 80, 80, (1, 3), (1, 2), (0, 1), (1, 1)),
    "all padding": (1, 1, 1, 7, 16, (3, 3), (2, 2), (3, 3), (1, 1)),
}
KERNELS = {name: im2col.im2col(*case) for name, case in CASES.items()}


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels(KERNELS.values())


@pytest.mark.parametrize("name", CASES)
def test_equals_numpy(lib, rng, name):
    B, H, W, C, ldx, *options = CASES[name]
    x = rng.normal(size=(B, H, W, ldx)).astype(np.float32)  # lanes after C must not matter
    want = im2col.reference(x[..., :C], *options)
    rows, width = want.shape[0] * want.shape[1], padded(want.shape[-1])
    o = np.full((*want.shape[:3], width), np.nan, np.float32)
    o = everywhere(lib, KERNELS[name], [(0, 1), (1, rows)], x=x, o=o)["o"]
    assert np.array_equal(o[..., : want.shape[-1]], want)
    assert (o[..., want.shape[-1] :] == 0).all()


def test_reference_is_the_dialects_op(rng):
    torch = pytest.importorskip("torch")
    from edgeq.ir.ops.convolution import im2col as op

    x = rng.normal(size=(2, 9, 8, 5)).astype(np.float32)
    options = dict(kernel=(3, 2), stride=(2, 1), padding=(1, 2), dilation=(2, 1))
    want = op(torch.from_numpy(x), **{k: list(v) for k, v in options.items()})
    assert np.array_equal(im2col.reference(x, **options), want.numpy())


def test_an_empty_output_is_refused():
    with pytest.raises(UnsupportedError, match="no output"):
        im2col.im2col(1, 4, 4, 3, 16, (5, 5))
