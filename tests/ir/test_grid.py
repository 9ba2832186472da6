"""edgeq.grid and qlinear over given codes: values, rows, the verifier, the executors."""

from __future__ import annotations

import pytest
import torch

import edgeq.ir.ops  # noqa: F401
from edgeq.errors import UsageError, VerifyError
from edgeq.frontend.expression import evaluate
from edgeq.ir.ops.simulated import simulated
from edgeq.ir.text import parse
from edgeq.ir.verify import verify
from edgeq.quant.format import WeightFormat
from edgeq.quant.quantizer import dequantize, quantize
from edgeq.quant.simulate import fake_tokens, fake_weight

ops = torch.ops.edgeq


def tables(text, rows=16, columns=80, seed=0):
    w = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    return w, [None if t is None else torch.from_numpy(t) for t in quantize(w, WeightFormat.parse(text))]


@pytest.mark.parametrize("text", ["w4g32", "w4g32a", "w8", "w3g64a", "w2g64", "w2a"])
def test_it_is_what_the_stored_numbers_stand_for(text):
    w, (codes, scale, zero) = tables(text)
    fmt = WeightFormat.parse(text)
    found = ops.grid(codes, scale, zero, weight=text)
    wanted = dequantize(*(None if t is None else t.numpy() for t in (codes, scale, zero)), fmt)
    assert torch.equal(found, torch.from_numpy(wanted))
    assert torch.equal(found, fake_weight(w, fmt.bits, fmt.group_size, fmt.symmetric))
    assert int(codes.max()) < 2**fmt.bits


@pytest.mark.parametrize("text", ["w4g32", "w8g32a", "w3g64", "w2g64a"])
@pytest.mark.parametrize("act", ["a8", "a4", "a16"])
def test_qlinear_over_codes_is_qlinear_over_their_weight(text, act):
    w, (codes, scale, zero) = tables(text)
    x, b = torch.randn(3, 80, generator=torch.Generator().manual_seed(1)), torch.randn(16)
    given = ops.qlinear(x, codes, b, None, scale, zero, weight=text, act=act)
    assert torch.equal(given, ops.qlinear(x, w, b, weight=text, act=act))
    values = ops.grid(codes, scale, zero, weight=text)
    read = x if act == "a16" else fake_tokens(x, 4 if act == "a4" else 8)
    assert torch.allclose(given, read @ values.T + b, rtol=1e-4, atol=1e-4)
    with simulated("mse"):
        assert torch.allclose(ops.qlinear(x, codes, b, None, scale, zero, weight=text, act=act), given, atol=1e-4)
        other = ops.qlinear(x, codes, b, None, scale * 2, zero, weight=text, act=act)
    assert torch.allclose(other - b, 2 * (given - b), atol=1e-3)


def test_rows_of_it_are_read_alone():
    text = """
%c = weight c : u8[16, 80]
%s = weight s : f16[16, 3]
%z = weight z : u8[16, 3]
%g = edgeq.grid(%c, %s, %z, weight='w4g32a') : f32[16, 80]
return %g
"""
    gm = parse(text.strip())
    _, held = tables("w4g32a")
    for name, table in zip("csz", held, strict=True):
        gm.register_buffer(name, table)
    node = next(n for n in gm.graph.nodes if n.name == "g")
    assert torch.equal(evaluate(node, None, slice(5, 9)), evaluate(node, None)[5:9])
    assert torch.equal(evaluate(node, None), ops.grid(*held, weight="w4g32a"))


GRID = """
%x = input : f32[1, s, 80]
%c = weight c : {codes}[16, 80]
%s = weight s : f16[16, {groups}]
%z = weight z : u8[16, {groups}]
%g = edgeq.grid(%c, %s, %z, weight='{weight}') : f32[16, 80]
%y = aten.linear(%x, %g) : f32[1, s, 16]
%q = edgeq.qlinear(%x, %c, None, None, %s, %z, weight='{weight}', act='a4') : f32[1, s, 16]
return (%y, %q)
"""


@pytest.mark.parametrize(
    "given, match",
    [
        ({"codes": "i8"}, "codes %c is torch.int8"), ({"groups": 2}, r"scale %s is torch.float16 \['16', '2'\]"),
        ({"weight": "w4g32"}, "takes no zero points"), ({"weight": "f16"}, "no codes"), ({"weight": "w5"}, "not known"),
    ],
)  # fmt: skip
def test_tables_of_another_type_or_shape_are_no_grid(given, match):
    good = {"codes": "u8", "groups": 3, "weight": "w4g32a"}
    verify(parse(GRID.format(**good).strip()), types=True)
    with pytest.raises(VerifyError, match=match):
        verify(parse(GRID.format(**{**good, **given}).strip()))


def test_floats_have_no_grid():
    with pytest.raises(UsageError, match="f16 have no codes"):
        ops.grid(torch.zeros(2, 16, dtype=torch.uint8), torch.ones(2, 1).half(), weight="f16")
