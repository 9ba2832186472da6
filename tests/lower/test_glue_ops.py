"""Every kind of glue against torch: on each ISA, whole and cut into pieces, odd shapes, zero pad lanes, equal bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from glue_programs import Case, Suite

torch.manual_seed(0)
R = torch.randn


def I(high: int, *shape: int) -> torch.Tensor:  # noqa: E743
    return torch.randint(0, high, shape)


ROWS, CAUSAL = torch.arange(4) * 9, torch.tril(torch.ones(20, 20, dtype=torch.bool))
CASES: dict[str, tuple[Callable[..., Any], tuple[torch.Tensor, ...]]] = {
    "broadcast": (lambda x, y: x * 2 + y, (R(3, 5, 20), R(5, 20))),
    "permute": (lambda x: x.permute(0, 2, 3, 1), (R(2, 5, 7, 20),)),
    "split heads": (lambda x: x.reshape(2, 7, 5, 6).transpose(1, 2), (R(2, 7, 30),)),
    "reshape": (lambda x: x.reshape(2, 7, 4, 16), (R(2, 7, 64),)),
    "flatten odd": (lambda x: x.reshape(-1)[3:] * 2, (R(7, 9),)),
    "windows": (
        lambda x: F.pad(x, (0, 0, 0, 3, 0, 3)).reshape(2, 7, 2, 7, 20).permute(0, 2, 1, 3, 4).reshape(4, 7, 7, 20),
        (R(1, 11, 11, 20),),
    ),
    "cat rows": (lambda x, y: torch.cat([x, y], 1), (R(2, 3, 20), R(2, 1, 20))),
    "cat columns": (lambda x, y: torch.cat([-x[..., 10:], x[..., :10], y], -1), (R(2, 3, 20), R(2, 3, 37))),
    "stack": (lambda x, y: torch.stack([x, y], 1), (R(4, 20), R(4, 20))),
    "select": (lambda x: x[:, 1], (R(4, 3, 20),)),
    "slice columns": (lambda x: x[..., 3:9], (R(4, 3, 20),)),
    "slice by steps": (lambda x: x[:, ::2, ::3], (R(4, 5, 20),)),
    "split": (lambda x: x.split(5, -1), (R(4, 20),)),
    "chunk": (lambda x: x.chunk(2, 1), (R(4, 20, 3),)),
    "unbind": (lambda x: x.unbind(0), (R(3, 4, 20),)),
    "expand": (lambda x: x.expand(4, 5, 20), (R(1, 5, 20),)),
    "repeat": (lambda x: x.repeat(2, 1, 3), (R(2, 5, 20),)),
    "pad rows": (lambda x: F.pad(x, (0, 0, 1, 2, 2, 0)), (R(2, 5, 6, 20),)),
    "pad columns": (lambda x: F.pad(x, (3, 1, 1, 2)), (R(2, 5, 6, 20),)),
    "flip": (lambda x: (x.flip(1), x.flip(-1)), (R(2, 5, 20),)),
    "roll": (lambda x: (torch.roll(x, (-2, -1), (1, 2)), torch.roll(x, 3, -1)), (R(2, 5, 6, 20),)),
    "index": (lambda x, i: (x[i], x[i - 7]), (R(7, 5, 20), I(7, 4, 3))),
    "index twice": (lambda x, i, j: x[i, j], (R(7, 5, 20), I(7, 4), I(5, 4))),
    "index_select": (lambda x, i: torch.index_select(x, 1, i), (R(7, 5, 20), I(5, 4))),
    "gather": (lambda x, i: torch.gather(x, 1, i), (R(7, 5, 20), I(5, 7, 3, 20))),
    "select_scatter": (lambda x, y: torch.select_scatter(x, y, 1, 2), (R(7, 5, 20), R(7, 20))),
    "slice_scatter": (lambda x, y: torch.slice_scatter(x, y, 1, 1, 3), (R(7, 5, 20), R(7, 2, 20))),
    "where": (lambda x, m: torch.where(m[:, None, :] > 0, x, -1e9), (R(2, 4, 20), I(2, 2, 20))),
    "masked_fill": (lambda x, m: x.masked_fill(m == 0, -3.0), (R(4, 20), I(2, 4, 20))),
    "booleans": (lambda m: (m > 0) & ~(m.transpose(0, 1) > 0), (I(2, 20, 20),)),
    "integers": (lambda m: (m.ne(1).int(), torch.logical_not(m.bool()), m // 3, m % 3, -m), (I(19, 2, 20) - 9,)),
    "mask to bias": (lambda m: (1.0 - m.to(torch.float32)) * -3e38, (I(2, 2, 20),)),
    "clamps": (lambda x: (x.clamp(-1, 1), x.clamp_min(0), torch.maximum(x, x * 2), F.hardtanh(x)), (R(4, 20),)),
    "activations": (
        lambda x: (F.gelu(x), F.gelu(x, approximate="tanh"), F.silu(x), torch.sigmoid(x), torch.tanh(x), torch.erf(x)),
        (R(4, 20) * 3,),
    ),
    "hard activations": (lambda x: (F.hardswish(x), F.hardsigmoid(x), F.relu(x)), (R(4, 20) * 3,)),
    "exp": (torch.exp, (torch.linspace(-100, 85, 777).reshape(7, 111),)),
    "powers": (lambda x: (x**2, x**0.5, x**0.3, x.rsqrt(), 1 / x, x.log(), x.sqrt()), (R(4, 20).abs() + 0.1,)),
    "sine": (lambda x: torch.cat([torch.sin(x), torch.cos(x)], -1), (R(2, 4, 20) * 3,)),
    "logarithms": (lambda x: (x.log2(), x.log10(), torch.pow(x, x), x.sum().log()), (R(3, 21).abs() + 0.1,)),
    "rounding": (lambda x: (x.floor(), x.round(), 2 - x, torch.rsub(x, 3)), (R(4, 20) * 4,)),
    "constants": (lambda x: (torch.ones_like(x) + x, torch.full_like(x, 3.0), torch.zeros_like(x)), (R(7, 20),)),
    "long row": (lambda x: x * 2 + 1, (R(1, 40001),)),
    "sums": (lambda x: (x.sum(), x.sum(0), x.mean(-1), x.mean((0, 1), keepdim=True)), (R(7, 5, 37),)),
    "extremes": (lambda x: (x.amax(-1), x.amin(1), x.amax((1, 2), keepdim=True)), (R(7, 5, 37),)),
    "argmax": (lambda x: (x.argmax(-1), x.argmax(), x.argmax(1, keepdim=True)), (R(7, 5, 37),)),
    "argmax of ties": (lambda x: x.argmax(-1), (I(3, 5, 70),)),
    "softmax": (lambda x: (F.softmax(x, -1), F.softmax(x, 1)), (R(3, 16, 37),)),
    "softmax of a wide row": (lambda x: F.softmax(x, -1), (R(20, 1003),)),
    "log_softmax": (lambda x: F.log_softmax(x, -1), (R(7, 37),)),
    "cumsum": (lambda m, x: (torch.cumsum(m, 1) * m + 1, x.cumsum(0)), (I(2, 3, 37), R(5, 37))),
    "group norm": (lambda x, w, b: F.group_norm(x, 4, w, b), (R(2, 16, 5, 7), R(16), R(16))),
    "normalize": (lambda x: (F.normalize(x, dim=-1), x / x.norm(dim=-1, keepdim=True)), (R(4, 37),)),
    "layer norm by hand": (
        lambda x: (x - x.mean(-1, keepdim=True)) * ((x - x.mean(-1, keepdim=True)) ** 2).mean(-1, keepdim=True).rsqrt(),
        (R(5, 37),),
    ),
    "matmul": (lambda x, y: x @ y, (R(3, 17, 37), R(3, 37, 50))),
    "matmul transposed": (lambda x, y: x @ y.transpose(1, 2) + 1, (R(3, 17, 37), R(3, 50, 37))),
    "matmul of four axes": (lambda x, y: x @ y, (R(2, 3, 4, 20), R(2, 3, 20, 7))),
    "matrix times vector": (lambda x, y: x @ y, (R(3, 4, 20), R(20))),
    "relative positions": (
        lambda x, h, w: (torch.einsum("bhwc,hkc->bhwk", x, h), torch.einsum("bhwc,wkc->bhwk", x, w)),
        (R(3, 7, 5, 64), R(7, 14, 64), R(5, 14, 64)),
    ),
    "einsum of maps": (lambda x, y: torch.einsum("bqnc,bnchw->bqnhw", x, y), (R(2, 7, 2, 16), R(2, 2, 16, 5, 20))),
    "conv1d": (lambda x, w, b: F.conv1d(x, w, b, padding=1), (R(2, 6, 20), R(8, 6, 3), R(8))),
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, padding=1, stride=2), (R(2, 6, 9, 20), R(8, 6, 3, 3), R(8))),
    "depthwise": (lambda x, w, b: F.conv2d(x, w, b, padding=1, groups=6), (R(2, 6, 9, 20), R(6, 1, 3, 3), R(6))),
    "grouped": (lambda x, w: F.conv2d(x, w, None, padding=1, groups=2), (R(2, 6, 9, 20), R(8, 3, 3, 3))),
    "transposed conv": (lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2), (R(2, 6, 5, 7), R(6, 4, 2, 2), R(4))),
    "max pool": (lambda x: F.max_pool2d(x, 3, 2, 1), (R(2, 6, 9, 20),)),
    "average pools": (lambda x: (F.avg_pool2d(x, 2), F.avg_pool2d(x, 3, 2, 1)), (R(2, 6, 9, 20),)),
    "adaptive pools": (lambda x: (F.adaptive_avg_pool2d(x, 1), F.adaptive_avg_pool2d(x, 3)), (R(2, 6, 7, 8),)),
    "nearest": (lambda x: F.interpolate(x, scale_factor=2.0), (R(2, 6, 7, 9),)),
    "bilinear": (lambda x: F.interpolate(x, size=(20, 33), mode="bilinear"), (R(2, 3, 7, 9),)),
    "bilinear down": (lambda x: F.interpolate(x, size=(5, 6), mode="bilinear"), (R(2, 3, 17, 19),)),
    "bilinear corners": (
        lambda x: F.interpolate(x, size=(20, 33), mode="bilinear", align_corners=True), (R(2, 3, 7, 9),)
    ),
    "bicubic": (lambda x: F.interpolate(x, size=(9, 11), mode="bicubic"), (R(1, 3, 7, 9),)),
    "grid_sample": (lambda x, g: F.grid_sample(x, g, align_corners=False), (R(2, 3, 7, 9), R(2, 5, 6, 2).tanh())),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2), (R(2, 12, 5, 7),)),
    "rotary": (
        lambda x, c, s: x * c + torch.cat([-x[..., 16:], x[..., :16]], -1) * s, (R(1, 4, 9, 32), R(9, 32), R(9, 32))
    ),
    "added times": (lambda x, y: (torch.add(x, y, alpha=2), torch.sub(x, y, alpha=3)), (R(4, 20), R(4, 20))),
    "mixed types": (
        lambda x, i: (x * i, i + 1.5, i / 2, x - i, i > 0.5, x / i.clamp_min(1), 2 - i), (R(4, 20), I(5, 4, 20))
    ),
    "logic": (
        lambda m, n: (torch.logical_and(m > 0, n > 1), (m > 0) == (n > 0), (m > 0) * n, torch.logical_or(m > 0, n > 1)),
        (I(3, 4, 20), I(3, 4, 20)),
    ),
    "casts": (lambda x, i: (x.to(torch.int64), x.bool(), i.float(), i.int(), i.bool()), (R(4, 20) * 3, I(3, 4, 20))),
    "slices from the end": (lambda x: (x[:, -3:], x[:, :-2], x[:, 1:4, ::2], x[1:, 2]), (R(4, 7, 20),)),
    "rounded division": (
        lambda x, i: (torch.div(x, 0.3, rounding_mode="floor"), torch.div(i - 4, 3, rounding_mode="trunc")),
        (R(4, 20), I(9, 4, 20)),
    ),
    "powers of two": (lambda x: (2.0**x, torch.pow(x.abs(), x)), (R(4, 20),)),
    "integer clamps": (lambda i: (i.clamp(1, 3), i.clamp(min=2), i.clamp(max=2)), (I(9, 4, 20),)),
    "index along axes": (lambda x, i, j: (x[:, i], x[:, :, j]), (R(4, 9, 20), I(9, 6), I(20, 5))),
    "last tokens": (
        lambda x, ids, n: torch.index_select(x.reshape(36, 20), 0, ids.argmax(-1) + n), (R(4, 9, 20), I(50, 4, 9), ROWS)
    ),
    "infinite mask": (lambda x, m: x.masked_fill(m > 0, float("-inf")), (R(4, 20), I(2, 4, 20))),
    "softmax of a masked row": (
        lambda x, m: F.softmax(x.masked_fill(m > 0, -3.4028234663852886e38), -1), (R(4, 20), I(2, 4, 20))
    ),
    "causal mask": (
        lambda m, t: torch.where(torch.logical_and(t[None], m[:, None, :] > 0), 0.0, -3e38), (I(2, 2, 20), CAUSAL)
    ),
    "counts": (lambda i: (i.sum(-1), (i > 1).sum(-1), i.sum(-1, keepdim=True).clamp(min=1)), (I(3, 4, 20),)),
    "mean pooling": (
        lambda x, m: (x * m[..., None].float()).sum(1) / m.sum(1, keepdim=True).clamp(min=1e-9),
        (R(3, 9, 20), I(2, 3, 9)),
    ),
    "similarity": (
        lambda x, y, s: (x / x.norm(dim=-1, keepdim=True)) @ (y / y.norm(dim=-1, keepdim=True)).t() * s.exp(),
        (R(2, 20), R(3, 20), R(())),
    ),
    "shifted windows": (
        lambda x: torch.roll(x, (-3, -3), (1, 2)).reshape(2, 2, 7, 2, 7, 20).permute(0, 1, 3, 2, 4, 5),
        (R(2, 14, 14, 20),),
    ),
    "matmul of windows": (lambda x, h: x.reshape(3, 7, 5, 64) @ h, (R(3, 35, 64), R(7, 64, 14))),
    "products of heads": (
        lambda x, w: (x.reshape(9, 4, 32).transpose(0, 1) @ w).transpose(0, 1).reshape(9, 64), (R(9, 128), R(4, 32, 16))
    ),
    "products of odd heads": (
        lambda x, w: (x.reshape(9, 4, 30).transpose(0, 1) @ w).transpose(0, 1).reshape(9, 28), (R(9, 120), R(4, 30, 7))
    ),
    "pool of pixels": (
        lambda x: F.max_pool2d(x.permute(0, 3, 1, 2), 3, 2, 1).permute(0, 2, 3, 1), (R(1, 9, 9, 36),)
    ),
    "vector times matrix": (lambda x, h: torch.matmul(x, h), (R(5), R(3, 5, 14))),
    "nearest to any size": (lambda x: F.interpolate(x, size=(13, 11)), (R(1, 3, 5, 7),)),
    "channels last depthwise": (
        lambda x, w: F.conv2d(x.permute(0, 3, 1, 2), w, None, padding=1, groups=20).permute(0, 2, 3, 1),
        (R(1, 9, 8, 20), R(20, 1, 3, 3)),
    ),
    "dilated": (lambda x, w: F.conv2d(x, w, None, padding=2, dilation=2, groups=3), (R(1, 6, 9, 11), R(6, 2, 3, 3))),
    "pooling by slices": (
        lambda x: torch.maximum(*(F.pad(x, (0, 0, 1, 1), value=-3.4e38)[:, j : j + 8 : 2] for j in (0, 2))),
        (R(2, 8, 20),),
    ),
    "large arguments": (lambda x: (torch.exp(x), torch.sigmoid(x)), (torch.tensor([[-1e3, -104, 0, 88, 89, 1e3]]),)),
    "transposes": (lambda x: (x.transpose(1, 2), x.transpose(0, 2) * 2), (R(3, 37, 70),)),
    "image to pixels": (lambda x: x.permute(0, 2, 3, 1), (R(1, 3, 9, 33),)),
    "pixels to image": (lambda x: x.permute(0, 3, 1, 2).reshape(1, 3, 297), (R(1, 9, 33, 3),)),
}  # fmt: skip


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    return Suite({name: Case(f, inputs) for name, (f, inputs) in CASES.items()}, tmp_path_factory.mktemp("glue"))


@pytest.mark.parametrize("name", CASES)
def test_equals_torch(suite: Suite, name: str) -> None:
    suite.check(name)


def test_objects_need_nothing_of_tvm(suite: Suite) -> None:
    assert not {s for s in suite.undefined() if "TVM" in s}, "no workspace, no parallel launch"


