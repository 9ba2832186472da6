from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
import pytest
from everywhere import everywhere

from edgeq.errors import UnsupportedError
from edgeq.kernels import heads
from edgeq.kernels.kv_cache import KvCache

CONTEXT = 64


@dataclass(frozen=True)
class Case:
    H: int
    HK: int
    D: int
    Dv: int
    q_norm: bool
    k_norm: bool
    eps: float
    offset: float
    rope_dims: int
    kv: str
    context: int
    q_scale: float


CASES = {
    "llama": Case(4, 2, 64, 64, False, False, 1e-5, 0.0, 64, "f16", CONTEXT, 0.18),
    "qwen3": Case(2, 1, 32, 32, True, True, 1e-6, 0.0, 32, "f32", CONTEXT, 0.25),
    "gemma3": Case(2, 1, 48, 48, True, True, 1e-6, 1.0, 48, "i8", CONTEXT, 0.2),
    "neox, half of 8": Case(3, 3, 64, 64, False, False, 1e-5, 0.0, 16, "f16", CONTEXT, 0.125),
    "half of 4": Case(1, 1, 32, 16, True, False, 1e-5, 0.0, 8, "i8", CONTEXT, 1.0),
    "half of 20": Case(2, 1, 80, 48, False, True, 1e-5, 1.0, 40, "f32", CONTEXT, 0.3),
    "no rotary": Case(2, 2, 16, 16, False, False, 1e-5, 0.0, 0, "i8", CONTEXT, 0.5),
}
KERNELS = {name: heads.heads(*astuple(case)) for name, case in CASES.items()}


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels(KERNELS.values())


def inputs(case: Case, m: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    cache = KvCache(case.HK, case.D, case.Dv, case.kv, case.context)
    x = rng.normal(size=(m, (case.H + case.HK) * case.D + case.HK * case.Dv)).astype(np.float32)
    x[m // 2] = 0
    x[0] *= 1000
    angle = rng.uniform(0, 6, (case.context, case.rope_dims // 2))
    return {
        "qkv": x, "qw": rng.normal(size=case.D).astype("f4"), "kw": rng.normal(size=case.D).astype("f4"),
        "cos": np.cos(angle).astype("f4"), "sin": np.sin(angle).astype("f4"),
        "kc": np.zeros(cache.key_shape, cache.dtype), "vc": np.zeros(cache.value_shape, cache.dtype),
        "ks": np.zeros(cache.scale_shape, "f4"), "vs": np.zeros(cache.scale_shape, "f4"),
    }  # fmt: skip


@pytest.mark.parametrize("pos", [0, 1, 15, 16, 45])
@pytest.mark.parametrize("name", CASES)
def test_matches_float64(lib, rng, name, pos):
    case, m = CASES[name], 1 if pos == 1 else 19
    cache = KvCache(case.HK, case.D, case.Dv, case.kv, case.context)
    given = inputs(case, m, rng)
    ranges = [(0, 1), (1, case.H + 1), (case.H + 1, case.H + 2 * case.HK)]
    after = everywhere(lib, KERNELS[name], ranges, m=m, pos=pos, **given)
    weights = given["qw"] if case.q_norm else None, given["kw"] if case.k_norm else None
    sizes = case.H, case.HK, case.D, case.eps, case.offset, case.rope_dims, case.q_scale
    q, k, v = heads.reference(given["qkv"], *weights, given["cos"], given["sin"], pos, *sizes)
    close(after["qkv"][:, : case.H * case.D].reshape(q.shape), q, 1e-5)
    scales = (after["ks"], after["vs"]) if cache.quantized else (None, None)
    kept = slice(pos, pos + m)
    close(cache.keys(after["kc"], scales[0])[:, kept].transpose(1, 0, 2), k, STEP[case.kv])
    close(cache.values(after["vc"], scales[1])[:, kept].transpose(1, 0, 2), v, STEP[case.kv])


STEP = {"f32": 1e-5, "f16": 2**-11 + 1e-5, "i8": 0.5 / 127 + 1e-5}


def close(found: np.ndarray, expected: np.ndarray, step: float) -> None:
    """Within `step` of each row's largest magnitude."""
    assert (np.abs(found - expected) <= step * np.abs(expected).max(-1, keepdims=True) + 1e-30).all()


def test_stored_codes_are_the_documented_ones(lib, rng):
    case, m, pos = CASES["no rotary"], 5, 14
    cache, given = KvCache(2, 16, 16, "i8", CONTEXT), inputs(CASES["no rotary"], 5, rng)
    after = everywhere(lib, KERNELS["no rotary"], [(0, 6)], m=m, pos=pos, **given)
    k = given["qkv"][:, case.H * 16 : (case.H + 2) * 16].reshape(m, 2, 16)
    codes, scales = cache.store(k)
    found = after["kc"].transpose(0, 1, 3, 2).reshape(2, CONTEXT, 16)[:, pos : pos + m]
    assert np.array_equal(found, codes.transpose(1, 0, 2))
    assert np.array_equal(after["ks"][:, pos : pos + m], scales.T)


def test_halves_are_rounded_to_nearest_even(lib, rng):
    """On every ISA, though one has no instruction for it: ties, denormals, overflow, infinities."""
    case, given = CASES["llama"], inputs(CASES["llama"], 19, rng)
    v = given["qkv"][:, (case.H + case.HK) * 64 :]
    v[:] = np.ldexp(rng.integers(-(2**13), 2**13, v.shape), rng.integers(-38, 6, v.shape)).astype(np.float32)
    v[3, :8] = [65504, 65519.99, 65520, -1e9, np.inf, -np.inf, 2.0**-25, 3 * 2.0**-25]
    with np.errstate(over="ignore"):
        expected = v.reshape(19, case.HK, 64).transpose(1, 0, 2).astype(np.float16)
    after = everywhere(lib, KERNELS["llama"], [(0, 8)], m=19, pos=0, **given)
    assert after["vc"][:, :19].tobytes() == expected.tobytes()


def test_other_positions_are_left_alone(lib, rng):
    case = CASES["llama"]
    given = inputs(case, 3, rng)
    given["kc"][:], given["vc"][:] = 7, 7
    after = everywhere(lib, KERNELS["llama"], [(0, 8)], m=3, pos=17, **given)
    cache = KvCache(case.HK, case.D, case.Dv, case.kv, case.context)
    others = np.delete(np.arange(CONTEXT), [17, 18, 19])
    assert (cache.keys(after["kc"], None)[:, others] == 7).all()
    assert (cache.values(after["vc"], None)[:, others] == 7).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"D": 24}, "size is 24"), ({"rope_dims": 12}, "12 channels"), ({"kv": "f8"}, "'f8'"), ({"context": 40}, "is 40")],
)
def test_refusals(change, message):
    with pytest.raises(UnsupportedError, match=message):
        heads.heads(**{**vars(CASES["llama"]), **change})
