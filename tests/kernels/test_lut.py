"""GEMV by tables of sums: equal bits where sums are looked up and where codes are unpacked and multiplied."""

from __future__ import annotations

import numpy as np
import pytest
from everywhere import everywhere
from isas import ISAS
from linear_cases import make

from edgeq.errors import UnsupportedError
from edgeq.kernels import lut
from edgeq.kernels.lut_tile import looks_up
from edgeq.quant.format import WeightFormat

# format, N, K, epilogue, bias, extreme codes
CASES = [
    ("w1g128", 17, 304, "store", True, True),
    ("t2g64", 32, 80, "gated:silu", False, False),
    ("w2", 16, 1040, "add", False, True),
]


def kernels(case):
    text, N, K, epilogue, bias, _ = case
    fmt = WeightFormat.parse(text)
    return lut.tables(K, fmt), lut.gemv(N, K, fmt, epilogue, bias)


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels(k for case in CASES for k in kernels(case))


class One:
    """A library of which one ISA is run: only some write tables."""

    def __init__(self, lib, isa):
        self.lib, self.isas = lib, [isa]

    def __call__(self, *args) -> None:
        self.lib(*args)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_variant_computes_the_same(lib, rng, case):
    text, N, K, epilogue, bias, extreme = case
    c, (tables, gemv) = make(rng, text, N, K, 1, extreme), kernels(case)
    width, found = len(c.bias) // 2 if epilogue.startswith("gated") else len(c.bias), []
    for isa in lib.isas:
        held = np.full(lut.table_bytes(K, c.fmt) // 4, 7, np.int32)
        made = everywhere(One(lib, isa), tables, [(0, 1)], q=c.q[0], tables=held)["tables"]
        assert (made == held).all() != looks_up(isa)
        units = width // 16
        given = {"w": c.packed, "bias": c.bias if bias else None, "q": c.q[0], "corr": c.corr[0], "tables": made}
        o = everywhere(One(lib, isa), gemv, [(0, units // 2), (units // 2, units)], **given, sa=c.sa, r=c.r[0, :width],
                       o=np.zeros(width, np.float32))["o"]  # fmt: skip
        found.append(o)
    assert all(o.tobytes() == found[0].tobytes() for o in found)
    b, r = c.bias[:N] if bias else None, c.r[:1, :N].astype(np.float64)
    want = lut.reference(c.weights, c.fmt, c.q, c.sa, epilogue, b, r)
    assert np.abs(found[0][: want.shape[1]] - want[0]).max() <= 2e-6 * np.abs(want).max()


def test_some_variant_looks_up():
    from edgeq.targets import find

    assert [isa.name for isa in find("x86-64").every if looks_up(isa)] == ["avx512vpopcnt"]
    assert not any(looks_up(isa) for isa in ISAS if isa.triple.startswith("aarch64"))


def test_formats_without_tables_are_refused():
    with pytest.raises(UnsupportedError, match="no tables for w4g32"):
        lut.gemv(16, 32, WeightFormat.parse("w4g32"))
