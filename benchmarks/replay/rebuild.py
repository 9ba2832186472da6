"""The plan of an artifact, made again from its model: lowering is deterministic, and model.c proves it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import fx

from edgeq.artifact.manifest import Manifest, read
from edgeq.calibrate.sample import sample_tokens
from edgeq.compiler import resolved_context, run_passes
from edgeq.errors import ArtifactError
from edgeq.frontend.graph import load_graph
from edgeq.frontend.source import Source, open_model
from edgeq.lower.build import SOURCE, WEIGHTS
from edgeq.lower.emit import WeightsInfo, emit
from edgeq.lower.lowering import lower
from edgeq.lower.plan import Plan
from edgeq.quant.bits import Bits
from edgeq.targets import Isa, find


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
    """Compile again up to the plan; raises ArtifactError when its C is not the artifact's model.c."""
    manifest = read(folder)
    source = open_model(model or manifest.model)
    context = resolved_context(manifest.memory["context"], source.config)
    graph = load_graph(source)
    run_passes(graph, Bits.parse(manifest.bits), context, source.weights, sample_tokens(source))
    plan, _ = lower(graph, source.weights, context, manifest.memory["chunk"])
    isas = tuple(isa for isa in find(manifest.target).isas if isa.name in {v["name"] for v in manifest.variants})
    offsets = {t.name: t.offset for t in manifest.tensors}
    if emit(plan, isas, _weights(folder, manifest, offsets), manifest.model) != (folder / SOURCE).read_text():
        raise ArtifactError(f"{folder}: {SOURCE} is not what this edgeq makes of {manifest.model}: compile it again")
    return Rebuilt(source, graph, plan, offsets, isas)


def _weights(folder: Path, manifest: Manifest, offsets: dict[str, int]) -> WeightsInfo:
    size = (folder / WEIGHTS).stat().st_size
    with (folder / WEIGHTS).open("rb") as file:
        header = 8 + int.from_bytes(file.read(8), "little")
    return WeightsInfo(offsets, size - header, size, int(manifest.files[WEIGHTS].xxh64, 16))
