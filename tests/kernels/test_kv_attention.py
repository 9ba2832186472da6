"""Attention over caches of 4 and 2 bits: chunks against numpy, decode against chunks, all ISAs against each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from everywhere import everywhere

from edgeq.errors import UnsupportedError
from edgeq.kernels import attention, kv_store
from edgeq.kernels.kv_blocks import KvBlocks, pack_keys, pack_values
from edgeq.kernels.kv_cache import KvCache
from edgeq.kernels.kv_reference import Caches

CONTEXT = 304


@dataclass(frozen=True)
class Case:
    H: int
    HK: int
    D: int
    Dv: int
    kv: str
    ring: int = 0
    left: int = -1
    softcap: float = 0.0
    bias: bool = False

    @property
    def cache(self) -> KvCache:
        return KvCache(self.HK, self.D, self.Dv, self.kv, CONTEXT, self.ring)

    @property
    def ld(self) -> int:
        return (self.H + self.HK) * self.D + self.HK * self.Dv

    @property
    def args(self) -> tuple:
        sizes = self.H, self.HK, self.D, self.Dv, self.ld, self.kv, CONTEXT
        return *sizes, self.left, self.softcap, self.bias, self.ring


CASES = {
    "int4, three heads a key head, ring": Case(6, 2, 48, 64, "i4", ring=192),
    "int2, groups of 16, window, softcap, bias": Case(2, 1, 16, 48, "i2", left=140, softcap=3.0, bias=True),
}
DECODE = {name: attention.decode(*case.args) for name, case in CASES.items() if case.kv == "i4"}  # compiling is slow
CHUNK = {name: attention.chunk(*case.args) for name, case in CASES.items()}
STORE = {
    name: kv_store.store(c.HK, c.D, c.Dv, c.ld, c.kv, CONTEXT, c.ring) for name, c in CASES.items()
}
ROWS = [(0, 17), (127, 2), (150, 35), (250, 40), (303, 1)]


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels([*DECODE.values(), *CHUNK.values(), *STORE.values()])


def empty(case: Case) -> dict[str, np.ndarray]:
    cache = case.cache
    ring = {"ks": cache.floats.key_shape, "vs": cache.floats.value_shape}
    codes = {"kc": cache.key_shape, "vc": cache.value_shape}
    nothing = {name: np.full(shape, np.nan, np.float16) for name, shape in ring.items()}
    return {**{name: np.full(shape, -1, np.int32) for name, shape in codes.items()}, **nothing}


def rows(case: Case, rng: np.random.Generator) -> np.ndarray:
    """qkv of the whole context: lines of zeros, of equal values, of one huge value among small ones."""
    x = rng.normal(size=(CONTEXT, case.ld)).astype(np.float32)
    first = case.H * case.D
    x[70, first:] = 0
    x[96:128, first:] = 1.5
    x[5, first:] *= 30
    x[:, first] = 0
    return x


def fed(lib, name: str, x: np.ndarray, pos: int, caches: dict, isa=None) -> dict[str, np.ndarray]:
    """Caches after all rows of x, at positions pos.., are stored, in one go."""
    case = CASES[name]
    end = np.zeros(case.ld, np.float32)
    k, v = (np.append(x[:, at:].ravel() if at == 0 else x.ravel()[at:], end) for at in starts(case))
    if isa is None:
        after = everywhere(lib, STORE[name], [(0, case.HK)], m=len(x), pos=pos, k=k, v=v, **caches)
        return {key: after[key] for key in caches}
    after = {key: array.copy() for key, array in caches.items()}
    lib(isa, STORE[name], 0, case.HK, len(x), pos, k, v, *(after[n] for n in ("kc", "vc", "ks", "vs")))
    return after


def starts(case: Case) -> tuple[int, int]:
    return case.H * case.D, (case.H + case.HK) * case.D


def grown(lib, name: str, x: np.ndarray, count: int, step: int) -> dict[str, np.ndarray]:
    """Caches after `count` rows, stored `step` at a time on the first ISA."""
    caches = empty(CASES[name])
    for pos in range(0, count, step):
        caches = fed(lib, name, x[pos : min(pos + step, count)], pos, caches, lib.isas[0])
    return caches


def biases(case: Case) -> np.ndarray:
    return np.random.default_rng(7).normal(size=(case.H, CONTEXT)) * 3


def given(case: Case, caches: dict, x: np.ndarray, pos: int, m: int) -> dict:
    qkv = np.full((-(-m // 16) * 16, case.ld), np.nan, np.float32)
    qkv[:m] = x[pos : pos + m]
    scratch = np.full(attention.scratch_bytes(CONTEXT) // 4, np.nan, np.float32)
    table = {"bias": attention.distance_table(biases(case))} if case.bias else {}
    return {"qkv": qkv, "scratch": scratch, **caches, **table}


@pytest.mark.parametrize(("pos", "m"), ROWS)
@pytest.mark.parametrize("name", CASES)
def test_chunk_matches_numpy_and_decode_matches_chunk(lib, rng, name, pos, m):
    case, x = CASES[name], rows(CASES[name], rng)
    before = grown(lib, name, x, pos, 29)
    caches = fed(lib, name, x[pos : pos + m], pos, before)
    args, units = given(case, caches, x, pos, m), case.H * -(-m // 16)
    o = np.zeros((-(-m // 16) * 16, case.H * case.Dv), np.float32)
    o = everywhere(lib, CHUNK[name], [(0, 1), (1, units)], rows={"o": m}, m=m, pos=pos, o=o, **args)["o"]
    q = x[pos : pos + m, : case.H * case.D].reshape(m, case.H, case.D)
    bias = biases(case) if case.bias else None
    want = Caches(case.cache, **caches).attend(q, pos, case.left, case.softcap, bias)
    error = np.abs(o.reshape(want.out.shape) - want.out)
    assert (error <= 2e-5 * np.abs(want.out).max() + want.slack).all()
    # one row at a time from the start, so that the ring and the codes differ in history
    for row in {0, m - 1} if name in DECODE else ():
        one = given(case, grown(lib, name, x, pos + row + 1, 1), x, pos + row, 1)
        one["qkv"] = one["qkv"][0]
        cut, a = case.H // 2 + 1, np.zeros(case.H * case.Dv, np.float32)
        found = everywhere(lib, DECODE[name], [(0, cut), (cut, case.H)], pos=pos + row, o=a, **one)["o"]
        assert found.tobytes() == o[row].tobytes()


@pytest.mark.parametrize("name", CASES)
def test_stored_blocks_are_the_documented_ones(lib, rng, name):
    case, x = CASES[name], rows(CASES[name], rng)
    count = min(case.cache.blocks.ring, CONTEXT)
    places = zip(starts(case), (case.D, case.Dv), strict=True)
    k, v = (x[:count, at : at + case.HK * size].reshape(count, case.HK, size) for at, size in places)
    k, v = (y.transpose(1, 0, 2).astype(np.float16) for y in (k, v))
    caches, whole = fed(lib, name, x[:count], 0, empty(case)), count // 32
    for key, pack, y in (("kc", pack_keys, k), ("vc", pack_values, v)):
        assert np.array_equal(caches[key][:, :whole], pack(case.cache.blocks, y[:, : whole * 32]))
        assert (caches[key][:, whole:] == -1).all()


def test_refuses_a_ring_that_holds_no_window():
    with pytest.raises(UnsupportedError, match="ring of 96"):
        KvBlocks(1, 32, 32, "i4", 1024, 96)
