from __future__ import annotations

import numpy as np
import pytest
from everywhere import everywhere

from edgeq.kernels import elementwise

ADD, MUL = elementwise.binary(48, "add"), elementwise.binary(48, "mul")
SCALE, CAP = elementwise.unary(48, "scale", -0.3), elementwise.unary(48, "softcap", 30.0)
GATED = elementwise.gated(48, "silu")
RAGGED_ADD, RAGGED_GELU = elementwise.binary(40, "add"), elementwise.unary(33, "gelu")
RAGGED_GATED = elementwise.gated(40, "silu")


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels([ADD, MUL, SCALE, CAP, GATED, RAGGED_ADD, RAGGED_GELU, RAGGED_GATED])


@pytest.mark.parametrize(("kernel", "op"), [(ADD, "add"), (MUL, "mul")])
def test_binary(lib, rng, kernel, op):
    a, b = rng.normal(size=(2, 5, 48)).astype(np.float32)
    o = everywhere(lib, kernel, [(0, 2), (2, 5)], m=5, a=a, b=b, o=np.zeros_like(a))["o"]
    np.testing.assert_allclose(o, elementwise.reference(op, a, b), rtol=1e-6)


@pytest.mark.parametrize(("kernel", "op", "value"), [(SCALE, "scale", -0.3), (CAP, "softcap", 30.0)])
def test_unary(lib, rng, kernel, op, value):
    a = (rng.normal(size=(5, 48)) * 50).astype(np.float32)
    a[1], a[2, :3] = 0, [1e30, -1e30, 1e-20]
    o = everywhere(lib, kernel, [(0, 5)], m=5, a=a, o=np.zeros_like(a))["o"]
    np.testing.assert_allclose(o, elementwise.reference(op, a, value=value), rtol=1e-6)


def test_gated(lib, rng):
    gate, up = rng.normal(size=(2, 3, 48)).astype(np.float32) * 4
    o = everywhere(lib, GATED, [(0, 3)], m=3, gate=gate, up=up, o=np.zeros_like(up))["o"]
    np.testing.assert_allclose(o, elementwise.reference("gated:silu", gate, up), rtol=2e-6)


def test_rows_outside_the_range_are_left_alone(lib):
    ones = np.ones((3, 48), np.float32)
    o = everywhere(lib, ADD, [(1, 2)], m=3, a=ones, b=ones, o=np.zeros_like(ones))["o"]
    assert o.sum(1).tolist() == [0, 96, 0]


def test_names_tell_options_apart():
    names = {elementwise.unary(48, "scale", v).name for v in (0.5, -0.5, 2.0, 1e-5)}
    assert len(names) == 4 and all(n.isidentifier() for n in names)


@pytest.mark.parametrize(("kernel", "count"), [(RAGGED_ADD, 2), (RAGGED_GELU, 1), (RAGGED_GATED, 2)])
def test_ragged_rows_keep_their_pad_lanes(lib, rng, kernel, count):
    rows = np.zeros((count, 3, 48), np.float32)
    rows[..., :40] = rng.normal(size=(count, 3, 40))
    names = [p.name for p in kernel.params if p.access == "in"]
    given = dict(zip(names, rows, strict=True))
    o = everywhere(lib, kernel, [(0, 1), (1, 3)], m=3, o=np.full((3, 48), np.nan, "f4"), **given)["o"]
    op = {RAGGED_ADD: "add", RAGGED_GELU: "gelu", RAGGED_GATED: "gated:silu"}[kernel]
    np.testing.assert_allclose(o, elementwise.reference(op, *rows), rtol=2e-6, atol=1e-7)
    assert (o[:, 40:] == 0).all()
