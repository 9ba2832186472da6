"""Bytes of the artifact before it is compiled: its plan is lowered and linked, its weights are counted, not read.

Kernels are compiled for this (the compile finds them in the cache), so files of code are exact, as is the weights file;
what is reported about passes (passes.json, parts of edgeq.json) is estimated until a first compile has written it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from edgeq.artifact.weights_file import TensorSpec, WeightsLayout
from edgeq.budget.code import plan_code
from edgeq.compiling.calibrated import own_passes
from edgeq.compiling.options import Options, record
from edgeq.compiling.prepared import Prepared
from edgeq.ir.graph import calls
from edgeq.lower.build import stored_tensors, write_library
from edgeq.lower.describe import describe_entry, describe_kernel
from edgeq.lower.emit import WeightsInfo
from edgeq.lower.lowering import lower_entries
from edgeq.lower.plan import Plan
from edgeq.lower.weights import WeightTable
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import run_pipeline

Progress = Callable[[str, int, int], None]
MANIFEST_REST = 7_000  # of edgeq.json: files, hashes, memory, recipe
SITE_BYTES = 1_000  # of passes.json and edgeq.json, a linear


@dataclass(frozen=True)
class Weighed:
    """Bytes of an artifact's files. weights: exact. code: model.c, kernels.a, model.so, exact. assets: the model's own.
    reports: edgeq.json and passes.json, roughly. kernels: of `code`, what each linear's and quantizer's take.
    """

    weights: int
    code: int
    assets: int
    reports: int
    kernels: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """The folder's."""
        return self.weights + self.code + self.assets + self.reports


def weigh(prepared: Prepared, options: Options, progress: Progress) -> Weighed:
    """What the artifact with these options will take; `prepared`'s graphs stay as they are.

    Raises:
        UnsupportedError: no kernel for a layer. ToolchainError: as a compile.
    """
    progress("weigh the plan", 0, 0)
    plan, table = _lowered(prepared, options)
    tensors = list(table.tensors.values())
    layout = WeightsLayout([TensorSpec(t.name, t.dtype, t.shape) for t in tensors])
    info = WeightsInfo(layout.offsets, layout.tensor_bytes, layout.file_bytes, 2**63)
    with tempfile.TemporaryDirectory(prefix="edgeq-") as folder:
        write_library(plan, options.target, info, prepared.source.name, Path(folder), progress)
        code = folder_bytes(Path(folder))
    assets = sum(map(len, prepared.source.assets.values()))
    kernels, reports = plan_code(plan, options.target), _reports(plan, table, info, options, prepared)
    return Weighed(layout.file_bytes, code, assets, reports, kernels)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _lowered(prepared: Prepared, options: Options) -> tuple[Plan, WeightTable]:
    mine = prepared.copies()
    context = Context(mine.source.weights, bits=options.bits, formats=options.formats)
    for entry in mine.entries:
        run_pipeline(entry.gm, own_passes(entry, options.bits, mine.context), context)
    return lower_entries(mine.entries, mine.source.weights, mine.context, mine.chunk)


def _reports(plan: Plan, table: WeightTable, info: WeightsInfo, options: Options, prepared: Prepared) -> int:
    facts = {
        "entries": [describe_entry(entry) for entry in plan.entries],
        "kernels": [describe_kernel(kernel) for kernel in plan.kernels().values()],
        "tensors": [asdict(tensor) for tensor in stored_tensors(table, info)],
        "options": record(options),
    }
    linears = sum(1 for entry in prepared.entries for _ in calls(entry.gm, "aten.linear"))
    return len(json.dumps(facts, indent=1)) + MANIFEST_REST + SITE_BYTES * linears
