"""Random scales and shifts at every fold point, compiled in float32: packing and kernels give what eager gives."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest
import static_zoo as zoo
import torch
from torch import fx
from zoo_compiled import CHUNK, CONTEXT, compare, one_isa

from edgeq.compiling.compiler import compile_into
from edgeq.compiling.options import Options
from edgeq.frontend.entries import Shapes
from edgeq.passes import PASSES
from edgeq.passes.folds.fold_points import fold_points
from edgeq.passes.folds.folding import fold, part_norms
from edgeq.passes.pass_ import Context, Pass, Report, Site
from edgeq.quant.bits import Bits
from edgeq.runtime.loader import Session


class FoldRandom(Pass):
    """Scales in 0.5..2, shifts in -1..1, the same for equal keys."""

    name: ClassVar[str] = "fold-random"

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        part_norms(gm)
        sites = []
        for point in fold_points(gm)[0]:
            noise = torch.Generator().manual_seed(zlib.crc32(point.key.encode()))
            width = point.channels // point.repeat
            scale = 2 ** (2 * torch.rand(width, generator=noise) - 1)
            shift = 2 * torch.rand(width, generator=noise) - 1
            fold(gm, point, scale, None if point.no_shift else shift)
            sites.append(Site(point.module, "folded"))
        return Report(str(self), tuple(sites))


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("edgeq.passes.fold_random")
    module.FoldRandom = FoldRandom  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(PASSES, "fold-random", "FoldRandom")


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("name", ["minilm", "sam", "detr", "bart", "clip"])
def test_folded_models_equal_hugging_face(name: str, tmp_path: Path) -> None:
    eager, recipe = zoo.save(name, tmp_path / "model"), zoo.ZOO[name]
    shapes = Shapes((1,), recipe.lengths or (128,))
    options = Options(
        str(tmp_path / "model"), one_isa(), Bits.parse("fp32"), CONTEXT, CHUNK, shapes=shapes, passes=("fold-random",)
    )
    folder = tmp_path / "artifact"
    folder.mkdir()
    compile_into(folder, options, lambda *_: None)
    found = compare(Session(folder, threads=2, verify=False), zoo.runs(name, eager))
    assert found.error <= 1e-4, found.worst()
