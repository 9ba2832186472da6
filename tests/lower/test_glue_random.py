"""Random chains of ops on odd shapes and strides: fusion, inlining and cutting meet in ways nobody thought of."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from glue_programs import Case, Suite

Op = Callable[..., torch.Tensor]
Made = tuple[Op, tuple[torch.Tensor, ...]]
SIZES, FEW, PROGRAMS = (1, 3, 4, 7, 15, 16, 17, 20, 31, 32, 33, 48), (1, 2, 3, 4), 24


def permute(x: torch.Tensor, r: random.Random, axis: int) -> Made:
    order = r.sample(range(x.dim()), x.dim())
    return lambda x: x.permute(order), ()


def reshape(x: torch.Tensor, r: random.Random, axis: int) -> Made:
    sizes = list(x.shape)
    parts = [n for n in range(2, sizes[axis]) if sizes[axis] % n == 0]
    if parts and r.random() < 0.5:
        part = r.choice(parts)
        sizes[axis : axis + 1] = [part, sizes[axis] // part]
    elif axis:
        sizes[axis - 1 : axis + 1] = [sizes[axis - 1] * sizes[axis]]
    return lambda x: x.reshape(sizes), ()


def cut(x: torch.Tensor, r: random.Random, axis: int) -> Made:
    begin = r.randrange(x.shape[axis])
    place = (*(slice(None),) * axis, slice(begin, r.randint(begin + 1, x.shape[axis]), r.choice((1, 2))))
    return lambda x: x[place], ()


def join(x: torch.Tensor, r: random.Random, axis: int) -> Made:
    other = torch.randn([r.choice((1, 3, 17)) if a == axis else n for a, n in enumerate(x.shape)])
    if r.random() < 0.5:
        return lambda x, y: torch.cat([x, y], axis), (other,)
    return lambda x, y: torch.cat([y, x, x], axis), (other,)


def pad(x: torch.Tensor, r: random.Random, axis: int) -> Made:
    amounts = [r.randint(0, 3) for _ in range(2 * min(2, x.dim()))]
    return lambda x: F.pad(x, amounts, value=0.5), ()


def combine(x: torch.Tensor, r: random.Random, axis: int) -> Made:
    other = torch.randn([n if r.random() < 0.7 else 1 for n in x.shape][axis:])
    return (torch.add if r.random() < 0.5 else torch.mul), (other,)


def reduce(x: torch.Tensor, r: random.Random, axis: int) -> Made:
    function, keep = r.choice((torch.sum, torch.mean, torch.amax, torch.amin)), r.random() < 0.5
    return lambda x: function(x, dim=axis, keepdim=keep), ()


def product(x: torch.Tensor, r: random.Random, axis: int) -> Made:
    return torch.matmul, (torch.randn(x.shape[-1], r.choice((1, 3, 14, 16, 33))),)


def choose(x: torch.Tensor, r: random.Random, axis: int) -> Made:
    return lambda x, m: torch.where(m > 0, x, -2.0), (torch.randint(0, 2, x.shape),)


def plain(x: torch.Tensor, r: random.Random, axis: int) -> Made:
    known: tuple[Op, ...] = (
        torch.relu, F.gelu, torch.tanh, lambda x: x * torch.sigmoid(x) + x, lambda x: F.softmax(x, axis),
        lambda x: x - x.mean(-1, keepdim=True), lambda x: x.flip(axis), lambda x: torch.roll(x, 2, axis),
        lambda x: x.cumsum(axis), lambda x: torch.stack([x, x * 2], axis), lambda x: x.select(axis, 0),
        lambda x: x @ x.transpose(-1, -2) * 0.1 if x.dim() > 1 else x,
    )  # fmt: skip
    return r.choice(known), ()


KINDS = (permute, reshape, cut, join, pad, combine, reduce, product, choose, plain, plain, plain)


def chain(seed: int) -> Case:
    """A few ops one after another; the value halfway leaves as well."""
    r = random.Random(seed)
    torch.manual_seed(seed)
    x = torch.randn([r.choice(FEW) for _ in range(r.randint(0, 2))] + [r.choice(SIZES) for _ in range(2)])
    inputs, steps = [x], []
    while len(steps) < 5:
        op, extra = r.choice(KINDS)(x, r, r.randrange(x.dim()))
        result = op(x, *extra)
        if 0 < result.numel() < 100_000 and 0 < result.dim() < 6:
            steps.append((op, len(inputs), len(inputs) + len(extra)))
            inputs += extra
            x = result

    def run(*given: torch.Tensor) -> tuple[Any, Any]:
        values = [given[0]]
        for op, begin, end in steps:
            values.append(op(values[-1], *given[begin:end]))
        return values[-1], values[len(steps) // 2] * 1.5

    strides = tuple(r.choice((None, t.shape[-1], t.shape[-1] + 5)) if t.dim() else None for t in inputs)
    return Case(run, tuple(inputs), strides, tolerance=1e-5)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    return Suite({str(seed): chain(seed) for seed in range(PROGRAMS)}, tmp_path_factory.mktemp("random"))


@pytest.mark.parametrize("seed", range(PROGRAMS))
def test_any_chain_equals_torch(suite: Suite, seed: int) -> None:
    suite.check(str(seed))
