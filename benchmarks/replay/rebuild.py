"""The plan of an artifact, made again from its model: compiling is deterministic, and its files prove it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import fx

from edgeq.artifact.manifest import Manifest, read
from edgeq.compiling.calibrated import run_all
from edgeq.compiling.compiler import resolved_context
from edgeq.compiling.config import read_config
from edgeq.compiling.options import make_options
from edgeq.errors import ArtifactError
from edgeq.frontend.entries import Shapes, load_entries
from edgeq.frontend.source import Source, open_model
from edgeq.lower.build import SOURCE, WEIGHTS
from edgeq.lower.emit import WeightsInfo, emit
from edgeq.lower.lowering import lower
from edgeq.lower.plan import Plan
from edgeq.lower.weights import WeightTable
from edgeq.targets import Isa, find

AGAIN = "compile it again"


@dataclass(frozen=True)
class Rebuilt:
    """An artifact's source, graph and plan; `offsets`: where each tensor starts in the weights."""

    source: Source
    graph: fx.GraphModule
    plan: Plan
    offsets: dict[str, int]
    isas: tuple[Isa, ...]

    def isa(self, variant: str) -> Isa:
        """The instruction set that a session runs."""
        return next(isa for isa in self.isas if isa.name == variant)


def rebuild(folder: Path, model: str | None = None) -> Rebuilt:
    """Compile again up to the plan and its weights; raises ArtifactError when the artifact's files are others."""
    manifest = read(folder)
    source = open_model(model or manifest.model)
    context = resolved_context(manifest.memory["context"], source.config)
    entry = load_entries(source, Shapes())[0]
    options = make_options(**read_config(folder))
    run_all([entry], source, options, context, lambda stage, done, total: None)
    plan, table = lower(entry.gm, source.weights, context, manifest.memory["chunk"])
    isas = tuple(isa for isa in find(manifest.target).every if isa.name in {v["name"] for v in manifest.variants})
    offsets = {t.name: t.offset for t in manifest.tensors}
    info = _weights(folder, manifest, offsets)
    if emit(plan, isas, info, manifest.model) != (folder / SOURCE).read_text():
        raise ArtifactError(f"{folder}: {SOURCE} is not what this edgeq makes of {manifest.model}: {AGAIN}")
    if other := _other_weights(table, folder, info):
        raise ArtifactError(f"{folder}: weights are not what this edgeq makes of {manifest.model} ({other}): {AGAIN}")
    return Rebuilt(source, entry.gm, plan, offsets, isas)


def _other_weights(table: WeightTable, folder: Path, info: WeightsInfo) -> str:
    """The first tensor whose bytes differ, "" when all are equal."""
    file = np.memmap(folder / WEIGHTS, mode="r")[info.file_bytes - info.tensor_bytes :]
    for tensor in table.tensors.values():
        at = info.offsets[tensor.name]
        for chunk in tensor.chunks():
            data = np.ascontiguousarray(chunk).reshape(-1).view(np.uint8)
            if not np.array_equal(file[at : at + len(data)], data):
                return tensor.name
            at += len(data)
    return ""


def _weights(folder: Path, manifest: Manifest, offsets: dict[str, int]) -> WeightsInfo:
    size = (folder / WEIGHTS).stat().st_size
    with (folder / WEIGHTS).open("rb") as file:
        header = 8 + int.from_bytes(file.read(8), "little")
    return WeightsInfo(offsets, size - header, size, int(manifest.files[WEIGHTS].xxh64, 16))
