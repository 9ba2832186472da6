"""Gamma migrated in both forms, compiled in float32: packing and kernels give what eager gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import static_zoo as zoo
from zoo_compiled import CHUNK, CONTEXT, compare, one_isa

from edgeq.compiling.compiler import compile_into
from edgeq.compiling.options import Options
from edgeq.frontend.entries import Shapes
from edgeq.quant.bits import Bits
from edgeq.runtime.loader import Session


@pytest.mark.parametrize("step", ["gamma-migration", "gamma-migration{shortcut=multiply}"])
def test_migrated_models_equal_hugging_face(step: str, tmp_path: Path) -> None:
    eager, recipe = zoo.save("minilm", tmp_path / "model"), zoo.ZOO["minilm"]
    shapes = Shapes((1,), recipe.lengths or (128,))
    options = Options(
        str(tmp_path / "model"), one_isa(), Bits.parse("fp32"), CONTEXT, CHUNK, shapes=shapes, passes=(step,)
    )
    folder = tmp_path / "artifact"
    folder.mkdir()
    compile_into(folder, options, lambda *_: None)
    found = compare(Session(folder, threads=2, verify=False), zoo.runs("minilm", eager))
    assert found.error <= 1e-5, found.worst()
