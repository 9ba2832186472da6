"""Attention over codes: every ISA the same bits, integer sums exact, close to float64 everywhere else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from everywhere import everywhere
from test_attend import Case, inputs, rows, spread

from edgeq.errors import UnsupportedError, VerifyError
from edgeq.ir.probabilities import ProbabilityGrid
from edgeq.kernels import attend, attend_codes, attend_values
from edgeq.kernels.naming import padded


@dataclass(frozen=True)
class Coded(Case):
    probs: str = "log2:4:2"
    s: float = 0.5

    @property
    def kernel(self):
        c = self
        flags = (c.causal, c.left, c.right, c.softcap, c.pad, c.bias)
        sizes = (c.B, c.S, c.L, c.H, c.HK, c.D, c.Dv, padded(c.H * c.D), padded(c.HK * c.D) + 16)
        return attend_codes.attend_codes(*sizes, c.D**-0.5, c.probs, *flags)

    @property
    def values(self):
        return attend_values.values(self.B, self.L, self.HK, self.Dv, padded(self.HK * self.Dv))


CASES = {
    "log2 t1, ragged": Coded(2, 37, 37, 1, 1, 16, 20, pad=True, bias="full:1,1", probs="log2:4:1"),
    "log2 t2, few queries": Coded(1, 5, 19, 2, 1, 16, 4),
    "log2 t4": Coded(1, 33, 66, 2, 2, 16, 16, probs="log2:4:4", s=0.2),
    "log2 of 3 bits, window": Coded(1, 30, 30, 1, 1, 4, 16, left=9, right=2, bias="grid:5,6", probs="log2:3:2", s=1.0),
    "int8, causal with pads": Coded(2, 20, 20, 1, 1, 16, 16, causal=True, pad=True, probs="int8", s=1.0),
}
EXACT = {text: Coded(1, 21, 45, 1, 1, 16, 16, probs=text) for text in ("log2:4:1", "log2:4:2", "log2:4:4")}
FAST = [case.kernel for case in (*CASES.values(), *EXACT.values())]
VALUES = [case.values for case in (*CASES.values(), *EXACT.values())]


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels([*FAST, *VALUES])


def quantize(lib, case: Coded, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shape = (case.B * case.HK, -(-case.L // 4), padded(case.Dv))
    held = {"vq": np.zeros(shape, np.int32), "vs": np.zeros((shape[0], shape[2]), np.float32)}
    found = everywhere(lib, case.values, [(0, 1), (1, case.B * case.HK)], v=rows(v, padded(case.HK * case.Dv)), **held)
    return found["vq"], found["vs"]


def run(lib, case: Coded, given: dict) -> np.ndarray:
    """[B, S, H, Dv]."""
    kernel = case.kernel
    vq, vs = quantize(lib, case, given["v"])
    scratch = np.full(attend_codes.scratch_bytes(kernel) // 4, np.nan, np.float32)
    arrays = {name: rows(given[name], kernel.options[f"ld{name}"]) for name in "qk"}
    for name in ("pad", "bias", "row_bias", "column_bias"):
        arrays[name] = None if given.get(name) is None else spread(given[name])
    o = np.full((case.B * case.S, padded(case.H * case.Dv)), np.nan, np.float32)
    units = attend.units(kernel)
    ranges = [(a, min(a + 3, units)) for a in range(0, units, 3)]
    ps = np.array([case.s], np.float32)
    o = everywhere(lib, kernel, ranges, vq=vq, vs=vs, ps=ps, scratch=scratch, o=o, **arrays)["o"]
    assert (o[:, case.H * case.Dv :] == 0).all()
    return o[:, : case.H * case.Dv].reshape(case.B, case.S, case.H, case.Dv)


def masks(case: Coded, given: dict) -> dict:
    bias = given["bias"]
    if "row_bias" in given:
        pairs = given["row_bias"][..., :, None] + given["column_bias"][..., None, :]
        bias = pairs.reshape(*pairs.shape[:3], -1)
    names = ("causal", "left", "right", "softcap")
    return {name: getattr(case, name) for name in names} | {"pad": given["pad"], "bias": bias}


@pytest.mark.parametrize("name", CASES)
def test_matches_the_reference(lib, rng, name):
    """Seeded so that no probability lies within rounding of the middle between two codes."""
    case, given = CASES[name], inputs(CASES[name], rng)
    found = run(lib, case, given)
    arrays = (given["q"], given["k"], given["v"])
    want = attend_codes.reference(*arrays, case.D**-0.5, case.probs, case.s, **masks(case, given))
    assert np.abs(found - want).max() <= 2e-6 * np.abs(want).max()


@pytest.mark.parametrize("name", CASES)
def test_stays_within_half_a_step_of_float(lib, rng, name):
    """Against float attention: half a step of every probability, and half of an int8 value's."""
    case, given = CASES[name], inputs(CASES[name], rng)
    grid = ProbabilityGrid.parse(case.probs)
    eye = np.broadcast_to(np.eye(case.L)[None, :, None], (case.B, case.L, case.HK, case.L))
    p = attend.reference(given["q"], given["k"], eye, case.D**-0.5, **masks(case, given))
    step = p * (2 ** (0.5 / grid.tau) - 1 + 1 / 16) if grid.tau else np.full_like(p, case.s / grid.last / 2)
    lowest = case.s * 2 ** (-(grid.last - 0.5) / grid.tau) if grid.tau else 0.0
    bound = np.where(p > case.s, p - case.s + step, np.maximum(step, np.where(p <= lowest, p, 0)))
    v = np.repeat(given["v"], case.H // case.HK, 2).astype(np.float64)
    of_values = np.abs(v).max(1)[:, None] / 254 * (p + bound).sum(-1)[..., None]
    limit = np.einsum("bshl,blhd->bshd", bound, np.abs(v)) + of_values
    want = np.einsum("bshl,blhd->bshd", p, v)
    assert (np.abs(run(lib, case, given) - want) <= limit * 1.0001).all()


def known_codes(case: Coded) -> tuple[dict, np.ndarray]:
    """Queries, keys and s whose codes are known: `[S, L]`, every row a permutation of the same counts."""
    grid = ProbabilityGrid.parse(case.probs)
    rng = np.random.default_rng(1)
    codes = rng.integers(0, grid.last + 3, case.L)
    turned = np.stack([rng.permutation(codes) for _ in range(16)], 1)  # [L, 16]: of queries of one channel
    k = (-np.log(2) / grid.tau * np.sqrt(16) * turned).astype(np.float32)[None, :, None]
    q = np.eye(16, dtype=np.float32)[np.arange(case.S) % 16][None, :, None]
    v = rng.normal(size=(1, case.L, 1, case.Dv)).astype(np.float32)
    s = float(1 / (2.0 ** (-codes / grid.tau)).sum())
    return {"q": q, "k": k, "v": v, "s": s}, np.minimum(turned.T[np.arange(case.S) % 16], grid.last)


@pytest.mark.parametrize("text", EXACT)
def test_integer_sums_are_exact(lib, text):
    """Bit for bit: int64 sums of levels by codes of values, then the multipliers in float32."""
    given, codes = known_codes(EXACT[text])
    case = Coded(**{**EXACT[text].__dict__, "s": given["s"]})
    v, scales = attend_values.reference(given["v"])
    total = None
    for plane in ProbabilityGrid.parse(text).planes:
        sums = np.array(plane.table)[codes] @ v[0, :, 0].astype(np.int64)
        assert np.abs(sums).max() < 1 << 24
        part = sums * np.float64(np.float32(plane.multiplier))  # exact in float64; rounded as the fused sum rounds
        total = part.astype(np.float32) if total is None else (total.astype(np.float64) + part).astype(np.float32)
    want = total * (np.float32(case.s) * scales[0, 0])
    assert np.array_equal(run(lib, case, given)[0, :, 0], want)


def test_rows_of_zeros(lib, rng):
    """Probabilities below the reach of the grid are exactly zero, and so is what is computed of them."""
    case = CASES["log2 t4"]
    given = inputs(case, rng)
    given["q"][:, :7] = 0  # even probabilities of 1/66, below 0.2 * 2^(-14.5 / 4) = 0.0162
    found = run(lib, case, given)
    assert (found[:, :7] == 0).all() and (found[:, 7:] != 0).any()


def test_a_query_that_sees_no_key_attends_evenly(lib, rng):
    case = CASES["int8, causal with pads"]
    given = inputs(case, rng)
    given["pad"][:] = 0
    found = run(lib, case, given)
    assert (found == found[:, :1]).all() and np.abs(found).max() > 0


@pytest.mark.parametrize("case", CASES.values(), ids=str)
def test_values_are_rounded_to_their_channels_scale(lib, rng, case):
    v = inputs(case, rng)["v"]
    v[:, :, :, 0] = 0
    vq, vs = quantize(lib, case, v)
    codes, scales = attend_values.reference(v)
    assert np.array_equal(vs.reshape(case.B, case.HK, -1)[..., : case.Dv], scales)
    found = vq.view(np.int8).reshape(case.B, case.HK, -1, padded(case.Dv), 4).transpose(0, 2, 4, 1, 3)
    found = found.reshape(case.B, -1, case.HK, padded(case.Dv))
    assert np.array_equal(found[:, : case.L, :, : case.Dv], codes) and not found[:, case.L :].any()


def test_refusals():
    with pytest.raises(VerifyError, match="log2:4:3"):
        _ = Coded(1, 4, 4, 1, 1, 4, 4, probs="log2:4:3").kernel
    with pytest.raises(UnsupportedError, match="overflow"):
        _ = Coded(1, 4, 140_000, 1, 1, 4, 4).kernel
