"""Objects: what they export and what they leave undefined; the rules of `vector` that keep bits equal."""

from __future__ import annotations

import re

import numpy as np
import pytest
from everywhere import everywhere
from kernel_library import link_shared

from edgeq.errors import ToolchainError
from edgeq.kernels import linear_int
from edgeq.kernels import vector as V
from edgeq.kernels.compile import compile_object
from edgeq.kernels.kernel import Kernel, Param
from edgeq.quant.format import WeightFormat
from edgeq.targets import find, x86_64


def _body(lo, hi, a, b, h, o):
    x, y = V.let(a.vector(0)), V.let(b.vector(0))
    results = [
        V.fence(x * y) + x, V.fma(x, y, x), x - V.fence(x * y), V.rint(x * V.splat(1000.0)), V.sqrt(V.absolute(x)),
        x / y, V.maximum(x, y), V.minimum(x, y), V.splat(V.sum16(x)), V.splat(V.max16(x)),
        V.cast("float32", h.vector(0)), V.cast("float32", V.cast("float16", x)), V.from_half(_body.isa, h.vector(0)),
    ]  # fmt: skip
    for i, value in enumerate(results):
        o.store(V.i32(i * 16), value)


def _build(isa):
    _body.isa = isa
    return V.function("rules", isa, (), {"a": "float32", "b": "float32", "h": "float16", "o": "float32"}, _body)


RULES = Kernel("rules", tuple(Param(n, "out" if n == "o" else "in") for n in "abho"), _build, "all")


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels([RULES])


def _tree(x: np.ndarray) -> np.float32:
    while len(x) > 1:
        x = x[: len(x) // 2] + x[len(x) // 2 :]
    return x[0]


def test_float_operations_round_as_stated_on_every_isa(lib, rng):
    a, b = (rng.standard_normal(16).astype(np.float32) for _ in range(2))
    h = rng.standard_normal(16).astype(np.float16)
    h[:6] = [0.0, -0.0, 6e-8, -6e-5, 65504.0, np.inf]
    got = everywhere(lib, RULES, [(0, 1)], a=a, b=b, h=h, o=np.zeros(13 * 16, np.float32))["o"].reshape(13, 16)
    exact = a.astype(np.float64) * b
    want = [
        a * b + a, (exact + a).astype(np.float32), a - a * b, np.rint(a * np.float32(1000)), np.sqrt(np.abs(a)),
        a / b, np.maximum(a, b), np.minimum(a, b), np.full(16, _tree(a)), np.full(16, a.max()), h.astype(np.float32),
        a.astype(np.float16).astype(np.float32), h.astype(np.float32),
    ]  # fmt: skip
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        assert np.array_equal(g, w), i


@pytest.mark.parametrize("target", ["x86-64", "arm64"])
def test_objects_of_several_isas_link_together_with_libm_alone(tmp_path, target):
    """Each object has its own fp16 conversions; `-z defs` refuses what libc, libm, compiler-rt lack."""
    kernels = [RULES, linear_int.gemv(16, 32, WeightFormat.parse("w4g32"))]
    paths = {isa: tmp_path / f"{isa.name}.o" for isa in find(target).isas}
    for isa, path in paths.items():
        compile_object(kernels, isa, path)
        assert not re.search(rb"\0__(extendhfsf2|truncsfhf2)\0", path.read_bytes())
    link_shared(paths.values(), tmp_path / "all.so", target)
    linked = (tmp_path / "all.so").read_bytes()
    assert all(f"\0{k.name}_{isa.name}\0".encode() in linked for k in kernels for isa in paths)
    imported = set(re.findall(rb"\0(fmaf|__[a-z]+hf2|TVM\w+)\0", linked))
    assert imported <= {b"fmaf"}


def test_a_kernel_that_cannot_be_generated_is_a_toolchain_error(tmp_path):
    def build(isa):
        def body(lo, hi, o):
            o.store(V.i32(0), V.intrinsic("float32", "llvm.no.such.intrinsic", V.f32(1.0)))

        return V.function("broken", isa, (), {"o": "float32"}, body)

    broken = Kernel("broken", (Param("o", "out"),), build, "all")
    with pytest.raises(ToolchainError, match="broken"):
        compile_object([broken], x86_64.PORTABLE, tmp_path / "broken.o")
