from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from everywhere import everywhere

from edgeq.errors import UnsupportedError
from edgeq.kernels import attend
from edgeq.kernels.naming import padded


@dataclass(frozen=True)
class Case:
    B: int
    S: int
    L: int
    H: int
    HK: int
    D: int
    Dv: int
    causal: bool = False
    left: int = -1
    right: int = -1
    softcap: float = 0.0
    pad: bool = False
    bias: str = ""

    @property
    def kernel(self):
        c = self
        ld = (padded(c.H * c.D), padded(c.HK * c.D) + 16, padded(c.HK * c.Dv))
        flags = (c.D**-0.5, c.causal, c.left, c.right, c.softcap, c.pad, c.bias)
        return attend.attend(c.B, c.S, c.L, c.H, c.HK, c.D, c.Dv, *ld, *flags)


CASES = {
    "minilm": Case(2, 37, 37, 3, 3, 32, 32, pad=True),
    "vit": Case(1, 197, 197, 2, 2, 64, 64),
    "odd heads": Case(2, 33, 33, 3, 1, 20, 4),
    "72 channels": Case(1, 16, 48, 2, 2, 72, 72),
    "few queries": Case(2, 5, 300, 2, 2, 16, 36),
    "few keys": Case(1, 50, 7, 2, 1, 16, 16),
    "causal": Case(2, 77, 77, 2, 2, 16, 16, causal=True),
    "causal, last query at last key": Case(1, 20, 50, 1, 1, 16, 16, causal=True),
    "causal with pads": Case(2, 40, 40, 1, 1, 16, 16, causal=True, pad=True),
    "more causal queries than keys": Case(1, 20, 9, 1, 1, 4, 4, causal=True),
    "window": Case(1, 100, 100, 2, 2, 16, 16, left=9, right=20),
    "narrow window": Case(1, 24, 24, 4, 4, 12, 12, left=3, right=3, pad=True),
    "window over chunks": Case(2, 700, 700, 1, 1, 16, 16, left=130, right=300, pad=True),
    "softcap": Case(1, 40, 40, 2, 2, 16, 16, softcap=2.0, bias="full:1,2"),
    "one bias for all": Case(2, 40, 40, 2, 2, 16, 16, bias="full:1,1"),
    "bias of every example": Case(2, 20, 600, 2, 2, 16, 16, bias="full:2,1", pad=True),
    "grid": Case(2, 196, 196, 2, 2, 32, 32, bias="grid:14,14"),
    "grid over chunks": Case(1, 49, 320, 1, 1, 16, 20, bias="grid:16,20"),
}
KERNELS = {name: case.kernel for name, case in CASES.items()}


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels(KERNELS.values())


def rows(x: np.ndarray, ld: int) -> np.ndarray:
    """[B, S, heads, D] -> f32[B*S, ld], what lies between is not a number."""
    flat = x.reshape(x.shape[0] * x.shape[1], -1)
    return np.pad(flat, ((0, 0), (0, ld - flat.shape[1])), constant_values=np.nan).astype(np.float32)


def spread(x: np.ndarray) -> np.ndarray:
    """The last axis padded with zeros."""
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, padded(x.shape[-1]) - x.shape[-1])])


def inputs(case: Case, rng: np.random.Generator, size: float = 1.0) -> dict:
    c = case
    f = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    given = {"q": f(c.B, c.S, c.H, c.D) * size, "k": f(c.B, c.L, c.HK, c.D), "v": f(c.B, c.L, c.HK, c.Dv)}
    pad = (rng.random((c.B, c.L)) < 0.6).astype(np.int32)
    pad[0, : c.L // 4], pad[-1, c.L // 3 :] = 1, 0
    kind, _, sizes = c.bias.partition(":")
    a, b = map(int, sizes.split(",")) if kind else (0, 0)
    given |= {"pad": pad if c.pad else None, "bias": f(a, b, c.S, c.L) * 3 if kind == "full" else None}
    given |= {"row_bias": f(c.B, c.H, c.S, a), "column_bias": f(c.B, c.H, c.S, b)} if kind == "grid" else {}
    return given


def expected(case: Case, given: dict) -> np.ndarray:
    bias = given["bias"]
    if "row_bias" in given:
        bias = (given["row_bias"][..., :, None] + given["column_bias"][..., None, :]).reshape(
            *given["row_bias"].shape[:3], -1
        )
    flags = case.causal, case.left, case.right, case.softcap, given["pad"], bias
    o = attend.reference(given["q"], given["k"], given["v"], case.D**-0.5, *flags)
    return o.reshape(case.B * case.S, -1)


def run(lib, case: Case, kernel, given: dict, step: int) -> np.ndarray:
    units, width = attend.units(kernel), padded(case.H * case.Dv)
    scratch = np.full(attend.scratch_bytes(kernel) // 4, np.nan, np.float32)
    arrays = {name: rows(given[name], kernel.options[f"ld{name}"]) for name in "qkv"}
    for name in ("pad", "bias", "row_bias", "column_bias"):
        arrays[name] = None if given.get(name) is None else spread(given[name])
    ranges = [(a, min(a + step, units)) for a in range(0, units, step)]
    o = np.full((case.B * case.S, width), np.nan, np.float32)
    o = everywhere(lib, kernel, ranges, scratch=scratch, o=o, **arrays)["o"]
    assert (o[:, case.H * case.Dv :] == 0).all()
    return o[:, : case.H * case.Dv]


@pytest.mark.parametrize("name", CASES)
def test_matches_float64(lib, rng, name):
    case, given = CASES[name], inputs(CASES[name], rng)
    found = run(lib, case, KERNELS[name], given, 3)
    want = expected(case, given)
    assert np.abs(found - want).max() <= 2e-6 * np.abs(want).max()


def test_results_do_not_depend_on_the_split(lib, rng):
    case, given = CASES["minilm"], inputs(CASES["minilm"], rng)
    found = [run(lib, case, KERNELS["minilm"], given, step).tobytes() for step in (1, 2, 100)]
    assert len(set(found)) == 1


@pytest.mark.parametrize("name", ["minilm", "causal with pads", "window over chunks"])
def test_a_query_that_sees_no_key_attends_evenly_to_all(lib, rng, name):
    case, given = CASES[name], inputs(CASES[name], rng)
    given["pad"][:] = 0
    want = given["v"].astype(np.float64).mean(1, keepdims=True).repeat(case.S, 1).reshape(case.B * case.S, -1)
    np.testing.assert_allclose(run(lib, case, KERNELS[name], given, 4), want, atol=1e-6)


def test_extreme_scores(lib, rng):
    case, given = CASES["vit"], inputs(CASES["vit"], rng, size=1e5)
    np.testing.assert_allclose(run(lib, case, KERNELS["vit"], given, 4), expected(case, given), atol=1e-5)


def test_masks_written_as_biases(lib, rng):
    case, given = CASES["one bias for all"], inputs(CASES["one bias for all"], rng)
    given["bias"][:, :, :, 5:] = np.finfo(np.float32).min
    given["bias"][:, :, 1:, 2:] = -np.inf
    want = expected(case, given)
    np.testing.assert_allclose(run(lib, case, KERNELS["one bias for all"], given, 4), want, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"HK": 2}, "3 query heads"), ({"bias": "grid:3,4"}, "grid"), ({"bias": "full:3,1"}, "full")],
)
def test_refusals(change, message):
    with pytest.raises(UnsupportedError, match=message):
        _ = replace(CASES["minilm"], **change).kernel
