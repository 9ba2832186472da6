"""A pass of tests: linears get codes and scales that were drawn, not computed from their weights."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, fx

from edgeq.ir.graph import arguments, calls, hf_name, site, value
from edgeq.passes import PASSES
from edgeq.passes.grids import put_on_grid
from edgeq.passes.pass_ import Context, Pass, Report, Site
from edgeq.passes.quantize import output_linears
from edgeq.quant.format import WeightFormat
from edgeq.quant.per_linear import format_of

Drawn = tuple[Tensor, Tensor, Tensor | None]


def draw(rows: int, columns: int, fmt: WeightFormat, seed: int = 0) -> Drawn:
    """Codes u8, scales f16 around 0.02 (some negative), zero points u8 of an asymmetric format."""
    random = torch.Generator().manual_seed(seed)
    groups = -(-columns // (fmt.group_size or columns))
    codes = torch.randint(0, 2**fmt.bits, (rows, columns), generator=random, dtype=torch.uint8)
    scale = torch.randn(rows, groups, generator=random) * 0.5 / 2**fmt.bits
    zero = torch.randint(0, 2**fmt.bits, (rows, groups), generator=random, dtype=torch.uint8)
    return codes, scale.half(), None if fmt.symmetric else zero


@dataclass(frozen=True)
class HandGrid(Pass):
    """Every linear that `only` is a part of the name of, but heads, on a grid drawn by its name.

    formats: of the linears whose names end so: `q_proj:w4g32;v_proj:w8`, else `bits`.
    """

    name: ClassVar[str] = "hand-grid"
    bits: str = "w4g32"
    formats: str = ""
    only: str = ""

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        own = {f"*{end}": text for end, text in (pair.split(":") for pair in self.formats.split(";") if pair)}
        last, changed = output_linears(gm), []
        for linear in calls(gm, "aten.linear"):
            module = hf_name(linear)
            if linear not in last and self.only in module:
                fmt = format_of(module, own) or WeightFormat.parse(self.bits)
                shape = [int(size) for size in value(arguments(linear)["weight"]).shape]
                put_on_grid(gm, linear, *draw(*shape, fmt, zlib.crc32(module.encode())), fmt)
                changed.append(Site(site(linear), str(fmt)))
        return Report(str(self), tuple(changed))


@contextmanager
def known() -> Iterator[None]:
    """While pipelines may name the pass."""
    PASSES["hand-grid"] = "HandGrid"
    sys.modules["edgeq.passes.hand_grid"] = sys.modules[__name__]
    try:
        yield
    finally:
        del PASSES["hand-grid"], sys.modules["edgeq.passes.hand_grid"]
