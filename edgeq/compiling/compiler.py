"""The road from a model to an artifact: frontend, passes, lowering, files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeq import __version__
from edgeq.artifact import manifest as manifests
from edgeq.artifact.passes_file import write_passes
from edgeq.artifact.space import cannot_write
from edgeq.artifact.verify import hash_folder
from edgeq.compiling.calibrated import run_all
from edgeq.compiling.options import Options
from edgeq.compiling.prepared import Prepared, prepare, resolved_context
from edgeq.frontend.entries import EntryGraph
from edgeq.frontend.source import Source
from edgeq.imports.record import to_json
from edgeq.lower.build import WEIGHTS, stored_tensors, write_library, write_weights
from edgeq.lower.describe import describe_entry, describe_kernel, describe_memory
from edgeq.lower.emit import WeightsInfo
from edgeq.lower.lowering import lower_entries
from edgeq.lower.plan import Plan

__all__ = ["Options", "compile_into", "resolved_context"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Written:
    """What was written: the plan, and where its weights lie in the file."""

    plan: Plan
    weights: WeightsInfo


def compile_into(folder: Path, options: Options, progress: Progress, journal: Path | None = None) -> None:
    """Write every file of the artifact into an empty folder; what is measured is kept in `journal` to go on from."""
    write_artifact(folder, options, prepare(options, progress), progress, journal)


def write_artifact(
    folder: Path, options: Options, prepared: Prepared, progress: Progress, journal: Path | None = None
) -> Written:
    """`compile_into` of a model that is open and exported already; its graphs are spent."""
    source, entries, context, chunk = prepared.source, prepared.entries, prepared.context, prepared.chunk
    passed = run_all(entries, source, options, context, progress, journal)
    progress("lower to kernels", 0, 0)
    plan, table = lower_entries(entries, source.weights, context, chunk)
    info, weights_hash = write_weights(table, folder, progress)
    write_library(plan, options.target, info, source.name, folder, progress)
    write_assets(source, folder)
    write_passes(passed.reports, folder)
    progress("write edgeq.json", 0, 0)
    manifest = manifests.Manifest(
        edgeq=__version__,
        model=source.name,
        target=options.target.name,
        bits=str(options.bits),
        files=hash_folder(folder, {WEIGHTS: weights_hash}),
        tensors=stored_tensors(table, info),
        source=_describe_source(source),
        passes=list(dict.fromkeys(r.name for r in passed.reports)),
        entries=[describe_entry(e) for e in plan.entries],
        kernels=[describe_kernel(k) for k in plan.kernels().values()],
        variants=[{"name": isa.name, "needs": list(isa.needs)} for isa in plan.variants(options.target)],
        memory=describe_memory(plan, info.file_bytes, chunk if prepared.decodes else 0),
        task=_task(source, entries),
        recipe=passed.recipe,
        imports=to_json(source.imports),
        declined=[{"pass": r.name, "module": s.module, "reason": s.what} for r in passed.reports for s in r.declined],
    )
    manifests.write(manifest, folder)
    return Written(plan, info)


def _task(source: Source, entries: list[EntryGraph]) -> dict[str, Any]:
    from edgeq.tasks.describe import task_of

    return task_of(source.config, source.assets, entries, source.weights.read)


def write_assets(source: Source, folder: Path) -> None:
    """Tokenizer, chat template, generation config, licence: as the model came with them."""
    try:
        for name, data in source.assets.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise cannot_write(Path(str(error.filename)), error) from error


def _describe_source(source: Source) -> dict[str, Any]:
    architectures = getattr(source.config, "architectures", None) or [type(source.config).__name__]
    return {"architecture": architectures[0], "model_type": source.config.model_type}
