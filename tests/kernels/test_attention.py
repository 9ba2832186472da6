from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from everywhere import everywhere

from edgeq.errors import UnsupportedError
from edgeq.kernels import attention
from edgeq.kernels.kv_cache import KvCache


@dataclass(frozen=True)
class Case:
    H: int
    HK: int
    D: int
    Dv: int
    kv: str
    context: int
    left: int = -1
    softcap: float = 0.0
    bias: bool = False

    @property
    def cache(self) -> KvCache:
        return KvCache(self.HK, self.D, self.Dv, self.kv, self.context)

    @property
    def args(self) -> tuple:
        ld = (self.H + self.HK) * self.D + self.HK * self.Dv
        return self.H, self.HK, self.D, self.Dv, ld, self.kv, self.context, self.left, self.softcap, self.bias


CASES = {
    "smollm": Case(9, 3, 64, 64, "f16", 272),
    "one key head, int8": Case(4, 1, 32, 16, "i8", 272),
    "no groups": Case(2, 2, 80, 80, "f32", 64),
    "window": Case(7, 1, 16, 48, "f16", 272, left=20),
    "window and softcap": Case(2, 1, 32, 32, "i8", 272, left=5, softcap=3.0),
    "bias by distance": Case(3, 3, 16, 16, "f16", 272, bias=True),
    "bias, window and softcap": Case(4, 2, 16, 32, "i8", 272, left=19, softcap=4.0, bias=True),
    "sees itself only": Case(10, 1, 16, 16, "f32", 64, left=0),
}
DECODE = {name: attention.decode(*case.args) for name, case in CASES.items()}
CHUNK = {name: attention.chunk(*case.args) for name, case in CASES.items()}
POSITIONS = [(0, 1), (0, 17), (1, 3), (15, 2), (16, 16), (17, 35), (255, 1), (251, 21)]


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels([*DECODE.values(), *CHUNK.values()])


def inputs(case: Case, pos: int, m: int, rng: np.random.Generator, scale: float = 1.0) -> dict:
    """Rows and caches; whatever must not be read (later positions, rows m..) is NaN or the largest code."""
    cache, rows = case.cache, -(-m // 16) * 16
    qkv = np.full((rows, case.args[4]), np.nan, np.float32)
    qkv[:m] = rng.normal(size=(m, case.args[4])) * scale
    k = rng.normal(size=(case.HK, case.context, case.D)).astype(np.float32)
    v = rng.normal(size=(case.HK, case.context, case.Dv)).astype(np.float32)
    (kc, ks), (vc, vs) = cache.store(k), cache.store(v)
    for codes, scales in ((kc, ks), (vc, vs)):
        codes[:, pos + m :] = 127 if scales is not None else np.nan
        if scales is not None:
            scales[:, pos + m :] = np.nan
    kc = kc.reshape(case.HK, -1, 16, case.D).transpose(0, 1, 3, 2).copy()
    scratch = np.full(attention.scratch_bytes(case.context) // 4, np.nan, np.float32)
    given = {"qkv": qkv, "kc": kc, "vc": vc, "ks": ks, "vs": vs, "scratch": scratch}
    return {**given, "bias": attention.distance_table(biases(case))} if case.bias else given


def biases(case: Case) -> np.ndarray:
    """By distance [H][context]."""
    return np.random.default_rng(7).normal(size=(case.H, case.context)) * 3


def expected(case: Case, given: dict, pos: int, m: int) -> np.ndarray:
    q = given["qkv"][:m, : case.H * case.D].reshape(m, case.H, case.D)
    bias = biases(case) if case.bias else None
    keys, values = case.cache.keys(given["kc"], given["ks"]), case.cache.values(given["vc"], given["vs"])
    return attention.reference(q, keys, values, pos, case.left, case.softcap, bias).reshape(m, -1)


def run_chunk(lib, name: str, given: dict, pos: int, m: int, step: int) -> np.ndarray:
    case = CASES[name]
    units, o = case.H * -(-m // 16), np.zeros((-(-m // 16) * 16, case.H * case.Dv), np.float32)
    ranges = [(a, min(a + step, units)) for a in range(0, units, step)]
    return everywhere(lib, CHUNK[name], ranges, rows={"o": m}, m=m, pos=pos, o=o, **given)["o"]


def run_decode(lib, name: str, given: dict, pos: int, row: int, cut: int) -> np.ndarray:
    case = CASES[name]
    one = {**given, "qkv": given["qkv"][row]}
    o = np.zeros(case.H * case.Dv, np.float32)
    return everywhere(lib, DECODE[name], [(0, cut), (cut, case.H)], pos=pos + row, o=o, **one)["o"]


@pytest.mark.parametrize(("pos", "m"), POSITIONS)
@pytest.mark.parametrize("name", CASES)
def test_chunk_matches_float64_and_decode_matches_chunk(lib, rng, name, pos, m):
    case = CASES[name]
    if pos + m > case.context:
        pos = case.context - m
    given = inputs(case, pos, m, rng)
    o = run_chunk(lib, name, given, pos, m, step=3)
    reference = expected(case, given, pos, m)
    assert np.abs(o - reference).max() <= 1e-5 * np.abs(reference).max()
    for row in {0, m // 2, m - 1}:
        found = run_decode(lib, name, given, pos, row, cut=case.H // 2 + 1)
        assert found.tobytes() == o[row].tobytes()


@pytest.mark.parametrize("name", ["smollm", "window and softcap"])
def test_results_do_not_depend_on_the_split(lib, rng, name):
    case, pos, m = CASES[name], 40, 33
    given = inputs(case, pos, m, rng)
    chunks = [run_chunk(lib, name, given, pos, m, step) for step in (1, 4, 100)]
    assert all(c.tobytes() == chunks[0].tobytes() for c in chunks)
    rows = [run_decode(lib, name, given, pos, 0, cut) for cut in range(case.H + 1)]
    assert all(r.tobytes() == rows[0].tobytes() for r in rows)


def test_extreme_scores(lib, rng):
    case = CASES["smollm"]
    given = inputs(case, 30, 1, rng, scale=1e4)  # scores of +-1e5: one position takes all
    reference = expected(case, given, 30, 1)[0]
    np.testing.assert_allclose(run_decode(lib, "smollm", given, 30, 0, 4), reference, atol=1e-5)
    given["qkv"][:] = 0  # equal scores: the mean
    reference = expected(case, given, 30, 1)[0]
    np.testing.assert_allclose(run_decode(lib, "smollm", given, 30, 0, 4), reference, atol=1e-6)


def test_refuses_heads_that_do_not_divide():
    with pytest.raises(UnsupportedError, match="5 query heads"):
        attention.decode(5, 2, 16, 16, 144, "f16", 64)
