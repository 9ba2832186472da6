"""Options -> the plan and the tensors of the artifact that a compile would write; no weight is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edgeq.compiling.calibrated import own_passes, settled
from edgeq.compiling.options import Options
from edgeq.compiling.prepared import exported
from edgeq.compiling.recipes import kind_of, measures, pipelines
from edgeq.frontend.entries import EntryGraph
from edgeq.frontend.source import Source, open_model
from edgeq.imports.plan import formats_of, is_quantized
from edgeq.lower.lowering import lower_entries
from edgeq.lower.plan import Plan
from edgeq.lower.weights import WeightTable
from edgeq.passes.pass_ import Context, Report
from edgeq.passes.pipeline import run_pipeline
from edgeq.predict.assumed import run_assumed
from edgeq.predict.blank_model import open_blank

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Drawn:
    """A compile up to the point where weights would be read.

    Attributes:
        source: blank. entries: their graphs, lowered. plan, table: as a compile's.
        context, chunk: as in the artifact, 0 and 1 without tokens. kind: decoder, encoder, ...
        passes: calibrated passes that the compile would run. pipelines: how many `best` would try, else 1.
        reports: of the passes that ran here.
    """

    source: Source
    entries: list[EntryGraph]
    plan: Plan
    table: WeightTable
    context: int
    chunk: int
    kind: str
    passes: tuple[str, ...] = ()
    pipelines: int = 1
    reports: list[Report] = field(default_factory=list)

    @property
    def sizes(self) -> dict[str, int]:
        """Tensor -> bytes, in the file's order."""
        return {name: tensor.bytes for name, tensor in self.table.tensors.items()}


def _opened(options: Options) -> Source:
    """By its description; a quantized checkpoint as a compile opens it, since formats follow from its codes."""
    if is_quantized(options.model, options.weights):
        return open_model(options.model, options.revision)
    return open_blank(options.model, options.revision)


def draw(options: Options, progress: Progress) -> Drawn:
    """Export, rewrite and lower a model of which only its description is read.

    Raises:
        ModelError, UnsupportedError, UsageError: as a compile, but for what is wrong with weights or data.
    """
    progress("read the model's config", 0, 0)
    source = _opened(options)
    prepared = exported(source, options, progress)
    entries = prepared.entries
    kind = kind_of(entries)
    options = settled(options, source, kind)
    tried = pipelines(options, kind)
    passes = tried[0] if len(tried) == 1 else _balanced(tried)
    if not _has_samples(options, entries):
        passes = [text for text in passes if not measures([text])]
    progress("lower to kernels", 0, 0)
    shared = Context(source.weights, bits=options.bits, formats=formats_of(source, options))
    for entry in sorted(entries, key=lambda e: (-e.length, e.batch)):
        run_assumed(entry, passes, shared)
        run_pipeline(entry.gm, own_passes(entry, options.bits, prepared.context), shared)
    plan, table = lower_entries(entries, source.weights, prepared.context, prepared.chunk)
    return Drawn(
        source, entries, plan, table, prepared.context, prepared.chunk, kind, tuple(passes), len(tried), shared.reports
    )


def _balanced(tried: Sequence[list[str]]) -> list[str]:
    """Which of those that `best` compares wins is not known before; its second is what `balanced` would run."""
    return tried[min(1, len(tried) - 1)]


def _has_samples(options: Options, entries: Sequence[EntryGraph]) -> bool:
    """Whether passes find something to measure: edgeq's own text fits whatever takes tokens."""
    takes_text = any(e.kind == "token" or any(port.name == "input_ids" for port in e.inputs) for e in entries)
    return options.calibration != "none" and (bool(options.calibration) or takes_text)
