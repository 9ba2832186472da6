"""A plan and its weights -> the files that run: weights.safetensors, model.c, model.so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from edgeq.artifact.hashes import FileHash
from edgeq.artifact.storage import StoredTensor
from edgeq.artifact.weights_file import TensorSpec, WeightsFile, WeightsLayout
from edgeq.lower.emit import WeightsInfo, emit
from edgeq.lower.link import KERNELS, LIBRARY, SOURCE, link_library
from edgeq.lower.objects import kernel_object
from edgeq.lower.plan import Plan
from edgeq.lower.toolchain import archive
from edgeq.lower.weights import Tensor, WeightTable
from edgeq.targets import Target

Progress = Callable[[str, int, int], None]
WEIGHTS = "weights.safetensors"
MB = 1 << 20


def write_weights(table: WeightTable, folder: Path, progress: Progress) -> tuple[WeightsInfo, FileHash]:
    """Quantize, pack and write every tensor, one at a time, in the order in which decode reads them."""
    tensors = list(table.tensors.values())
    total, done = sum(t.bytes for t in tensors), 0

    def counted(tensor: Tensor) -> Iterator[np.ndarray]:
        nonlocal done
        for chunk in tensor.chunks():
            yield chunk
            done += chunk.nbytes
            progress("quantize and pack weights (MB)", done // MB, total // MB)

    with WeightsFile(folder / WEIGHTS, [TensorSpec(t.name, t.dtype, t.shape) for t in tensors]) as file:
        for tensor in tensors:
            file.add(tensor.name, counted(tensor))
    layout = file.layout
    info = WeightsInfo(layout.offsets, layout.tensor_bytes, layout.file_bytes, file.xxh64)
    return info, FileHash(layout.file_bytes, f"{file.xxh64:016x}", file.sha256)


def write_library(plan: Plan, target: Target, info: WeightsInfo, model: str, folder: Path, progress: Progress) -> None:
    """Generate kernels for every variant, print the plan as model.c, link model.so; keep kernels.a to link again."""
    kernels = list(plan.kernels().values())
    objects = []
    isas = plan.variants(target)
    for i, isa in enumerate(isas):
        progress("generate kernels", i, len(isas))
        objects.append(kernel_object(kernels, isa))
    progress("link model.so", 0, 0)
    (folder / SOURCE).write_text(emit(plan, isas, info, model))
    archive(objects, folder / KERNELS)
    link_library(target.zig_triple, folder, folder / LIBRARY)


def stored_tensors(table: WeightTable, layout: WeightsLayout | WeightsInfo) -> list[StoredTensor]:
    """What the manifest says of each tensor."""
    return [
        StoredTensor(t.name, t.sources, t.format, t.logical, layout.offsets[t.name], t.bytes, t.source_bytes)
        for t in table.tensors.values()
    ]
