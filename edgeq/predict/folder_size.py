"""Bytes of an artifact's files: exact where the lowered plan decides them, from measured code sizes elsewhere."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from edgeq import __version__
from edgeq.artifact.folder import MANIFEST
from edgeq.artifact.hashes import FileHash
from edgeq.artifact.manifest import Manifest
from edgeq.artifact.passes_file import PASSES, write_passes
from edgeq.artifact.storage import StoredTensor
from edgeq.artifact.weights_file import TensorSpec, WeightsLayout
from edgeq.compiling.options import Options, record
from edgeq.kernels.kernel import Kernel
from edgeq.lower.build import WEIGHTS, stored_tensors
from edgeq.lower.describe import describe_entry, describe_kernel, describe_memory
from edgeq.lower.emit import WeightsInfo, emit
from edgeq.lower.link import KERNELS, LIBRARY, SOURCE
from edgeq.predict.blank_plan import Drawn
from edgeq.targets import Isa
from edgeq.tasks.describe import task_of

TABLE = Path(__file__).with_name("kernel_sizes.json")
HASH, HASH64 = "0" * 64, "0" * 16
TEXT_FILES = ("tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")


@dataclass(frozen=True)
class FolderSize:
    """Bytes by file.

    Attributes:
        files: name -> bytes. exact: names of those that the compile will write to the byte.
        missing: what the model came without, such as its tokenizer, so that it is not in `files`.
        tensors: of the weights file, as the manifest will list them.
    """

    files: dict[str, int]
    exact: tuple[str, ...]
    missing: tuple[str, ...]
    tensors: list[StoredTensor]

    @property
    def total(self) -> int:
        """Bytes of the whole folder."""
        return sum(self.files.values())


def folder_size(drawn: Drawn, options: Options) -> FolderSize:
    """Every file that a compile with these options would write."""
    layout = WeightsLayout([TensorSpec(t.name, t.dtype, t.shape) for t in drawn.table.tensors.values()])
    info = WeightsInfo(layout.offsets, layout.tensor_bytes, layout.file_bytes, (1 << 64) - 1)
    source = emit(drawn.plan, drawn.plan.variants(options.target), info, drawn.source.name)
    assets = {name: len(data) for name, data in drawn.source.assets.items()}
    files = {
        WEIGHTS: layout.file_bytes,
        SOURCE: len(source.encode()),
        **_code_files(drawn, options, len(source)),
        PASSES: _passes_bytes(drawn),
        **assets,
    }
    tensors = stored_tensors(drawn.table, layout)
    files[MANIFEST] = _manifest_bytes(drawn, options, files, tensors, info)
    return FolderSize(files, (WEIGHTS, SOURCE, *assets), _missing(drawn), tensors)


def kind_of_kernel(kernel: Kernel) -> str:
    """What decides how long a kernel's code is: its family, the width of its weights."""
    fmt: Any = kernel.options.get("fmt")
    bits = f" w{fmt.bits}{'' if fmt.symmetric else 'a'}" if fmt is not None and hasattr(fmt, "bits") else ""
    gated = " gated" if str(kernel.options.get("epilogue", "")).startswith("gated") else ""
    return f"{kernel.family}{bits}{gated}"


@cache
def _table() -> dict[str, Any]:
    return json.loads(TABLE.read_text())


def _code_files(drawn: Drawn, options: Options, source_bytes: int) -> dict[str, int]:
    kernels = list(drawn.plan.kernels().values())
    isas = drawn.plan.variants(options.target)
    code = sum(code_bytes(kernel, isa) for isa in isas for kernel in kernels if isa.owns(kernel.family))

    def linked(what: str) -> int:
        fitted = _table()["beyond"][f"{what} {options.target.name}"]
        return max(round(fitted["bytes"] + fitted["a_byte_of_code"] * code + fitted["a_byte_of_c"] * source_bytes), 0)

    return {KERNELS: linked("archive"), LIBRARY: linked("library")}


def code_bytes(kernel: Kernel, isa: Isa) -> float:
    """Of the kernel's kind, else of its family, else of the average kernel; a partial variant's is as its base's."""
    code = _table()["code"][isa.base or isa.name]
    kind = kind_of_kernel(kernel)
    alike = [size for name, size in code.items() if name.split()[0] == kernel.family] or list(code.values())
    return code.get(kind, sum(alike) / len(alike))


def _passes_bytes(drawn: Drawn) -> int:
    with tempfile.TemporaryDirectory() as folder:
        write_passes(drawn.reports, Path(folder))
        return (Path(folder) / PASSES).stat().st_size


def _manifest_bytes(
    drawn: Drawn, options: Options, files: dict[str, int], tensors: list[StoredTensor], info: WeightsInfo
) -> int:
    source, reports = drawn.source, drawn.reports
    architecture = (getattr(source.config, "architectures", None) or [type(source.config).__name__])[0]
    manifest = Manifest(
        edgeq=__version__,
        model=source.name,
        target=options.target.name,
        bits=str(options.bits),
        files={name: FileHash(size, HASH64, HASH) for name, size in files.items()},
        tensors=tensors,
        source={"architecture": architecture, "model_type": source.config.model_type},
        passes=list(dict.fromkeys(r.name for r in reports)),
        entries=[describe_entry(e) for e in drawn.plan.entries],
        kernels=[describe_kernel(k) for k in drawn.plan.kernels().values()],
        variants=[{"name": isa.name, "needs": list(isa.needs)} for isa in drawn.plan.variants(options.target)],
        memory=describe_memory(drawn.plan, info.file_bytes, drawn.chunk),
        task=task_of(source.config, source.assets, drawn.entries, source.weights.read),
        recipe={"options": record(options), "passes": list(drawn.passes), "candidates": [], "calibration": {}},
        declined=[{"pass": r.name, "module": s.module, "reason": s.what} for r in reports for s in r.declined],
    )
    return len(json.dumps({**manifest.to_json(), "hash": HASH}, indent=1).encode()) + 1


def _missing(drawn: Drawn) -> tuple[str, ...]:
    """What such a model usually has and this one was given without."""
    takes_text = any(e.kind == "token" or any(port.name == "input_ids" for port in e.inputs) for e in drawn.entries)
    takes_photos = any(port.name == "pixel_values" for e in drawn.entries for port in e.inputs)
    found = drawn.source.assets
    tokenizer = ("its tokenizer",) if takes_text and not any(name in found for name in TEXT_FILES) else ()
    photos = "preprocessor_config.json" in found or "processor_config.json" in found
    return tokenizer + (("its preprocessing",) if takes_photos and not photos else ())
